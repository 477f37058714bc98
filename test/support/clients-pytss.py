"""What a Python program does with a TPM: keys, a sealed secret, NV, a quote, an encrypted session, all through tpm2-pytss.

Its argument is a TCTI. It prints one JSON object: what the TPM made, in hexadecimal or as PEM, for others to check.
"""
import hashlib
import json
import sys

from tpm2_pytss import ESAPI
from tpm2_pytss.constants import ESYS_TR, TPM2_ALG, TPM2_RH, TPM2_SE, TPM2_ST, TPMA_NV, TPMA_OBJECT, TPMA_SESSION
from tpm2_pytss.TSS2_Exception import TSS2_Exception
from tpm2_pytss.types import (
    TPM2B_NV_PUBLIC,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE_CREATE,
    TPML_DIGEST_VALUES,
    TPML_PCR_SELECTION,
    TPMS_ATTEST,
    TPMS_NV_PUBLIC,
    TPMS_SENSITIVE_CREATE,
    TPMT_HA,
    TPMT_RSA_DECRYPT,
    TPMT_SIG_SCHEME,
    TPMT_SYM_DEF,
    TPMT_TK_HASHCHECK,
    TPMU_HA,
    TPMU_SYM_KEY_BITS,
    TPMU_SYM_MODE,
)

MESSAGE = b"signed through pytss"
SECRET = b"sealed through pytss"
QUALIFIER = b"freshness"
PCRS = "sha256:16"
SIGNER = TPMA_OBJECT.SIGN_ENCRYPT | TPMA_OBJECT.USERWITHAUTH | TPMA_OBJECT.SENSITIVEDATAORIGIN
DECRYPTER = TPMA_OBJECT.DECRYPT | TPMA_OBJECT.USERWITHAUTH | TPMA_OBJECT.SENSITIVEDATAORIGIN

AES = TPMT_SYM_DEF(algorithm=TPM2_ALG.AES, keyBits=TPMU_SYM_KEY_BITS(sym=128), mode=TPMU_SYM_MODE(sym=TPM2_ALG.CFB))
NO_TICKET = TPMT_TK_HASHCHECK(tag=TPM2_ST.HASHCHECK, hierarchy=TPM2_RH.NULL)
AS_KEY_SAYS = TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL)


def sensitive(auth: bytes = b"", data: bytes = b"") -> TPM2B_SENSITIVE_CREATE:
    return TPM2B_SENSITIVE_CREATE(TPMS_SENSITIVE_CREATE(userAuth=auth, data=data))


def child(tpm: ESAPI, parent: ESYS_TR, template: TPM2B_PUBLIC, secret: TPM2B_SENSITIVE_CREATE):
    """Creates and loads an object under the parent; gives its handle and public area."""
    private, public, _, _, _ = tpm.create(parent, secret, template)
    return tpm.load(parent, private, public), public


def sign(tpm: ESAPI, parent: ESYS_TR) -> dict:
    made = {}
    for name, algorithm in {"ecdsa": "ecc:ecdsa-sha256", "rsa": "rsa2048:rsassa-sha256"}.items():
        template = TPM2B_PUBLIC.parse(algorithm, objectAttributes=SIGNER)
        key, public = child(tpm, parent, template, sensitive(auth=b"secret"))
        tpm.tr_set_auth(key, "secret")
        signature = tpm.sign(key, hashlib.sha256(MESSAGE).digest(), AS_KEY_SAYS, NO_TICKET)
        tpm.verify_signature(key, hashlib.sha256(MESSAGE).digest(), signature)
        if name == "rsa":
            plain = {"signature": bytes(signature.signature.rsassa.sig).hex()}
        else:
            ecdsa = signature.signature.ecdsa
            plain = {"r": bytes(ecdsa.signatureR).hex(), "s": bytes(ecdsa.signatureS).hex()}
        made[name] = {"key": public.to_pem().decode(), **plain}
        tpm.flush_context(key)
    return made


def decrypt(tpm: ESAPI, parent: ESYS_TR) -> str:
    """Has the TPM decrypt what it encrypted with OAEP."""
    template = TPM2B_PUBLIC.parse("rsa2048", objectAttributes=DECRYPTER)
    template.publicArea.parameters.rsaDetail.symmetric.algorithm = TPM2_ALG.NULL
    key, _ = child(tpm, parent, template, sensitive())
    scheme = TPMT_RSA_DECRYPT(scheme=TPM2_ALG.OAEP)
    scheme.details.oaep.hashAlg = TPM2_ALG.SHA256
    plain = tpm.rsa_decrypt(key, tpm.rsa_encrypt(key, MESSAGE, scheme), scheme)
    tpm.flush_context(key)
    return bytes(plain).decode()


def pcr_session(tpm: ESAPI, kind: TPM2_SE) -> ESYS_TR:
    session = tpm.start_auth_session(ESYS_TR.NONE, ESYS_TR.NONE, kind, AES, TPM2_ALG.SHA256)
    _, _, values = tpm.pcr_read(PCRS)
    digest = hashlib.sha256(b"".join(bytes(value) for value in values)).digest()
    tpm.policy_pcr(session, digest, TPML_PCR_SELECTION.parse(PCRS))
    return session


def seal(tpm: ESAPI, parent: ESYS_TR) -> dict:
    """Seals under the value of a PCR, in a salted and encrypted session, and unseals before and after the PCR changes."""
    trial = pcr_session(tpm, TPM2_SE.TRIAL)
    policy = tpm.policy_get_digest(trial)
    tpm.flush_context(trial)

    attributes = TPMA_OBJECT.FIXEDTPM | TPMA_OBJECT.FIXEDPARENT
    template = TPM2B_PUBLIC.parse("keyedhash", objectAttributes=attributes, authPolicy=bytes(policy))
    salted = tpm.start_auth_session(parent, ESYS_TR.NONE, TPM2_SE.HMAC, AES, TPM2_ALG.SHA256)
    encrypted = TPMA_SESSION.DECRYPT | TPMA_SESSION.ENCRYPT | TPMA_SESSION.CONTINUESESSION
    tpm.trsess_set_attributes(salted, encrypted)
    private, public, _, _, _ = tpm.create(parent, sensitive(data=SECRET), template, session1=salted)
    item = tpm.load(parent, private, public, session1=salted)
    tpm.flush_context(salted)

    session = pcr_session(tpm, TPM2_SE.POLICY)
    unsealed = bytes(tpm.unseal(item, session1=session)).decode()
    tpm.flush_context(session)
    extend(tpm)
    session = pcr_session(tpm, TPM2_SE.POLICY)
    try:
        tpm.unseal(item, session1=session)
        refused = 0
    except TSS2_Exception as error:
        refused = error.rc
    tpm.flush_context(session)
    tpm.flush_context(item)
    return {"unsealed": unsealed, "refused": refused}


def extend(tpm: ESAPI) -> None:
    digest = TPMU_HA(sha256=hashlib.sha256(MESSAGE).digest())
    tpm.pcr_extend(ESYS_TR.PCR16, TPML_DIGEST_VALUES([TPMT_HA(hashAlg=TPM2_ALG.SHA256, digest=digest)]))


def store(tpm: ESAPI) -> str:
    attributes = TPMA_NV.OWNERREAD | TPMA_NV.OWNERWRITE | TPMA_NV.AUTHREAD | TPMA_NV.AUTHWRITE
    public = TPMS_NV_PUBLIC(nvIndex=0x1500020, nameAlg=TPM2_ALG.SHA256, attributes=attributes, dataSize=len(SECRET))
    index = tpm.nv_define_space("secret", TPM2B_NV_PUBLIC(public))
    tpm.nv_write(index, SECRET)
    data = bytes(tpm.nv_read(index, len(SECRET))).decode()
    tpm.nv_undefine_space(index)
    return data


def quote(tpm: ESAPI, parent: ESYS_TR) -> dict:
    restricted = SIGNER | TPMA_OBJECT.RESTRICTED | TPMA_OBJECT.FIXEDTPM | TPMA_OBJECT.FIXEDPARENT
    template = TPM2B_PUBLIC.parse("ecc:ecdsa-sha256", objectAttributes=restricted)
    template.publicArea.parameters.eccDetail.symmetric.algorithm = TPM2_ALG.NULL
    key, public = child(tpm, parent, template, sensitive())
    quoted, signature = tpm.quote(key, PCRS, QUALIFIER)
    tpm.flush_context(key)
    attested, _ = TPMS_ATTEST.unmarshal(bytes(quoted))
    return {
        "key": public.to_pem().decode(),
        "attest": bytes(quoted).hex(),
        "r": bytes(signature.signature.ecdsa.signatureR).hex(),
        "s": bytes(signature.signature.ecdsa.signatureS).hex(),
        "qualifier": bytes(attested.extraData).decode(),
        "pcrDigest": bytes(attested.attested.quote.pcrDigest).hex(),
        "pcr": bytes(tpm.pcr_read(PCRS)[2][0]).hex(),
    }


with ESAPI(sys.argv[1]) as tpm:
    primary = tpm.create_primary(None, "ecc")[0]
    results = {
        "random": bytes(tpm.get_random(16)).hex(),
        "hash": bytes(tpm.hash(MESSAGE, TPM2_ALG.SHA384)[0]).hex(),
        "sign": sign(tpm, primary),
        "decrypted": decrypt(tpm, primary),
        "sealed": seal(tpm, primary),
        "stored": store(tpm),
        "quote": quote(tpm, primary),
    }
    tpm.flush_context(primary)
print(json.dumps(results))
