"""Which samples and frames are in each training step: functions of seed and epoch, whatever the devices."""
