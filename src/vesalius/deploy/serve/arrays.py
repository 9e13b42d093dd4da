"""Arrays in the format of numpy.save, read without trust."""

import io
import math
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from vesalius.deploy.serve.content import check_size
from vesalius.deploy.serve.limits import Limits
from vesalius.deploy.serve.refusal import Refused


def read_npy(content: bytes, limits: Limits) -> NDArray[Any]:
    """The array in a file as `numpy.save` writes it: numbers only, never objects.

    Raises:
        Refused: if it is none, or not of numbers, or beyond a limit.
    """
    file = io.BytesIO(content)
    try:
        version = npy.read_magic(file)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
        shape, fortran, dtype = read(file, max_header_size=1000)
    except Exception as error:  # the header is a Python literal, and may be any
        raise Refused(400, "The body is no array as numpy.save writes it", "Send one.") from error
    if not all(type(side) is int and side > 0 for side in shape):
        raise Refused(422, f"The array has the shape {shape}", "Send one with pixels.")
    if dtype.kind not in "uf" or dtype.itemsize > 8 or not 2 <= len(shape) <= 4:
        raise Refused(
            422, f"The array is of {dtype} and has {len(shape)} axes", "Send 2 to 4 axes of uint8, uint16 or float32."
        )
    count = math.prod(shape)
    check_size(1 if len(shape) < 4 else shape[0], count, limits)
    if len(content) - file.tell() != count * dtype.itemsize:
        raise Refused(400, "The body is not as long as its header claims", "Send the whole array.")
    array = np.frombuffer(content, dtype, offset=file.tell()).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)
