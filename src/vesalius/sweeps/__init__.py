"""The jobs of a multirun: scheduled, shown, resumed."""
