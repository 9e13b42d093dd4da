"""Encryption of the file of identities with a passphrase: scrypt (RFC 7914) and AES-256-GCM, from `cryptography`."""

import functools
import getpass
import os
import secrets
import sys
from dataclasses import dataclass
from typing import Any

from vesalius.config.errors import InputError
from vesalius.config.targets import import_extra

VARIABLE = "VESALIUS_PASSPHRASE"
SALT_BYTES, NONCE_BYTES = 16, 12
_N, _R, _P = 2**17, 8, 1  # 128 MiB and a fraction of a second for each guess


class WrongPassphrase(InputError):
    """What was encrypted with another passphrase, or was changed."""

    def __init__(self) -> None:
        super().__init__(
            "this passphrase does not open the file of patients' identities, or the file was changed: correct "
            f"{VARIABLE}, or take the file from a backup."
        )


@dataclass(frozen=True)
class Cipher:
    """Encrypts values, each with a nonce of its own and bound to its place.

    Attributes:
        key: of 32 bytes.
    """

    key: bytes

    @classmethod
    def of_passphrase(cls, salt: bytes, *, new: bool = False) -> "Cipher":
        """The cipher of the passphrase in the environment, or typed.

        Args:
            salt: of the file.
            new: whether the passphrase is only being chosen, and so typed twice.

        Raises:
            InputError: without a passphrase, or without the package.
        """
        return cls(_derive(_passphrase(new), salt))

    def encrypt(self, value: bytes, place: str) -> bytes:
        """The nonce, and the encrypted value with its tag."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        encrypted: bytes = _aes(self.key).encrypt(nonce, value, place.encode())
        return nonce + encrypted

    def decrypt(self, stored: bytes, place: str) -> bytes:
        """Inverse of `encrypt`.

        Raises:
            WrongPassphrase: for another key, place or value.
        """
        invalid = import_extra("cryptography.exceptions", "An encrypted file of identities").InvalidTag
        try:
            value: bytes = _aes(self.key).decrypt(stored[:NONCE_BYTES], stored[NONCE_BYTES:], place.encode())
        except (invalid, ValueError):
            raise WrongPassphrase from None
        return value


def _aes(key: bytes) -> Any:
    return import_extra("cryptography.hazmat.primitives.ciphers.aead", "An encrypted file of identities").AESGCM(key)


@functools.cache
def _derive(passphrase: str, salt: bytes) -> bytes:
    scrypt = import_extra("cryptography.hazmat.primitives.kdf.scrypt", "An encrypted file of identities").Scrypt
    key: bytes = scrypt(salt=salt, length=32, n=_N, r=_R, p=_P).derive(passphrase.encode())
    return key


def _passphrase(new: bool) -> str:
    given = os.environ.get(VARIABLE)
    if not given:
        if not sys.stdin or not sys.stdin.isatty():
            raise InputError(f"the file of patients' identities is encrypted: give its passphrase in {VARIABLE}.")
        given = getpass.getpass("Passphrase of the file of patients' identities: ")
        if new and getpass.getpass("Once more: ") != given:
            raise InputError("the two passphrases differ: type the same one twice.")
        os.environ[VARIABLE] = given  # for the processes that this one starts
    if not given:
        raise InputError("an empty passphrase protects nothing: choose another.")
    return given
