"""More objects and sessions at a time than a TPM holds, which a resource manager swaps in and out.

Its arguments are a TCTI, the number of keys and the number of sessions. It uses each key twice, in turn and with the
sessions in turn, and prints how many signatures were right.
"""
import hashlib
import sys

from tpm2_pytss import ESAPI
from tpm2_pytss.constants import ESYS_TR, TPM2_ALG, TPM2_RH, TPM2_SE, TPM2_ST, TPMA_OBJECT, TPMA_SESSION
from tpm2_pytss.types import (
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE_CREATE,
    TPMS_SENSITIVE_CREATE,
    TPMT_SIG_SCHEME,
    TPMT_SYM_DEF,
    TPMT_TK_HASHCHECK,
)

SIGNER = TPMA_OBJECT.SIGN_ENCRYPT | TPMA_OBJECT.USERWITHAUTH | TPMA_OBJECT.SENSITIVEDATAORIGIN
AS_KEY_SAYS = TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL)
NO_TICKET = TPMT_TK_HASHCHECK(tag=TPM2_ST.HASHCHECK, hierarchy=TPM2_RH.NULL)
PLAIN = TPMT_SYM_DEF(algorithm=TPM2_ALG.NULL)


def make_key(tpm: ESAPI, number: int) -> ESYS_TR:
    """A signing key with an authorisation of its own."""
    auth = f"secret {number}".encode()
    template = TPM2B_PUBLIC.parse("ecc:ecdsa-sha256", objectAttributes=SIGNER)
    secret = TPM2B_SENSITIVE_CREATE(TPMS_SENSITIVE_CREATE(userAuth=auth))
    key = tpm.create_primary(secret, template)[0]
    tpm.tr_set_auth(key, auth)
    return key


def make_session(tpm: ESAPI) -> ESYS_TR:
    session = tpm.start_auth_session(ESYS_TR.NONE, ESYS_TR.NONE, TPM2_SE.HMAC, PLAIN, TPM2_ALG.SHA256)
    tpm.trsess_set_attributes(session, TPMA_SESSION.CONTINUESESSION)
    return session


with ESAPI(sys.argv[1]) as tpm:
    keys = [make_key(tpm, number) for number in range(int(sys.argv[2]))]
    sessions = [make_session(tpm) for _ in range(int(sys.argv[3]))]
    right = 0
    for turn in (1, 2):
        for number, key in enumerate(keys):
            digest = hashlib.sha256(f"{turn} {number}".encode()).digest()
            signature = tpm.sign(key, digest, AS_KEY_SAYS, NO_TICKET, session1=sessions[number % len(sessions)])
            tpm.verify_signature(key, digest, signature)
            right += 1
    for handle in keys + sessions:
        tpm.flush_context(handle)
print(right)
