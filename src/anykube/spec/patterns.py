"""The forms that text in the object may take, each with the words that tell people.

One place for the model, the JSON Schema and the messages. Written for three engines (Rust, ECMAScript,
Python): plain character classes, no look-around, no `\\d` or `\\w`, which
mean more than ASCII in one of them.
"""

from __future__ import annotations

NAME = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
VERSION = r"^[0-9]+\.[0-9]+\.[0-9]+$"
ADDRESS = r"^[A-Za-z0-9:]([A-Za-z0-9.:-]*[A-Za-z0-9:])?$"
NETWORK = r"^[0-9A-Fa-f.:]+/[0-9]{1,3}$"
PATH = r"^/[^\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]*$"
USER = r"^[a-z_][a-z0-9_-]*$"
HOST_KEY = r"^[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,2}( [ -~]*)?$"
QUALIFIED_NAME = (
    r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$"
)
LABEL_VALUE = r"^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$"
DOMAIN = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$"
MIRROR = r"^https://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[A-Za-z0-9._~%+-]+)*/?$"
SHARE = r"^([1-9][0-9]{0,2}|[1-9][0-9]?%|100%)$"
TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
AGE_RECIPIENT = r"^age1[02-9ac-hj-np-z]{58}$"
PERIOD = r"^[1-9][0-9]{0,3}[mhd]$"
BUCKET = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"
KEY_PREFIX = r"^([A-Za-z0-9][A-Za-z0-9_.-]*/)*[A-Za-z0-9][A-Za-z0-9_.-]*$"
ENDPOINT_URL = r"^https?://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$"

WORDS = {
    NAME: "lower-case letters, digits and '-', with a letter or digit at both ends",
    VERSION: 'three numbers, such as "1.36.3"',
    ADDRESS: "an IPv4 address or a DNS name",
    NETWORK: "an address and a prefix length, such as 10.244.0.0/16",
    PATH: "an absolute path: it begins with '/' and has no control characters",
    USER: "a user name: lower-case letters, digits, '_' and '-', not beginning with a digit or '-'",
    HOST_KEY: "a public key on one line: its type and its base64 text, such as 'ssh-ed25519 AAAA...'",
    QUALIFIED_NAME: "letters, digits, '-', '_' and '.', with a letter or digit at both ends, "
    "and may have a DNS name and '/' before",
    LABEL_VALUE: "letters, digits, '-', '_' and '.', with a letter or digit at both ends",
    DOMAIN: "a DNS name in lower case, such as cluster.local",
    SHARE: "a number or a part of all, such as 2 or '20%'",
    TIME: "a time of day in UTC, such as '22:30'",
    AGE_RECIPIENT: "a public key of age, as age-keygen prints it: 'age1' and 58 characters",
    PERIOD: "a whole number and m, h or d, such as 6h",
    BUCKET: "lower-case letters, digits, '-' and '.', with a letter or digit at both ends",
    KEY_PREFIX: "parts of letters, digits, '_', '-' and '.', '/' between, a letter or digit first in each",
    ENDPOINT_URL: "a URL without path, such as https://s3.example.com:9000",
    MIRROR: "an https URL without user, query and fragment, such as https://mirror.example.com/kubernetes",
}
