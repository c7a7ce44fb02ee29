"""Keeps out of our own log the secrets that are part of addresses: whoever reads an invitation's can use it."""

import logging
import re

INVITATION = re.compile(r"(/invitations/)[^/\s?]+")


class WithoutSecrets(logging.Filter):
    """For handlers; changes the record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = INVITATION.sub(r"\1-", record.getMessage()), ()
        return True
