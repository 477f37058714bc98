// The known-answer tests of the crypto by TPM algorithm identifier.
import { CURVE_COUNT, CURVE_P256 } from "../crypto/ec-curve";
import { SELF_TEST_ECDH, SELF_TEST_ECDSA, SELF_TEST_ECSCHNORR, ecSelfTest } from "../crypto/ec-selftest";
import { HASH_SHA1, HASH_SHA256, HASH_SHA384, HASH_SHA512 } from "../crypto/hash";
import { RSA_SCHEME_OAEP, RSA_SCHEME_RSAES, RSA_SCHEME_RSAPSS, RSA_SCHEME_RSASSA } from "../crypto/rsa-scheme";
import { rsaSelfTest } from "../crypto/rsa-selftest";
import {
  SELF_TEST_AES,
  SELF_TEST_CAMELLIA,
  SELF_TEST_CFB,
  SELF_TEST_KDFA,
  SELF_TEST_TDES,
  symmetricSelfTest,
} from "../crypto/selftest-symmetric";
import {
  TPM_ALG_AES,
  TPM_ALG_CAMELLIA,
  TPM_ALG_CFB,
  TPM_ALG_ECDH,
  TPM_ALG_ECDSA,
  TPM_ALG_ECSCHNORR,
  TPM_ALG_KDF1_SP800_108,
  TPM_ALG_OAEP,
  TPM_ALG_RSAES,
  TPM_ALG_RSAPSS,
  TPM_ALG_RSASSA,
  TPM_ALG_SHA1,
  TPM_ALG_SHA256,
  TPM_ALG_SHA384,
  TPM_ALG_SHA512,
  TPM_ALG_TDES,
} from "./generated/constants";

/** Whether the algorithm gives its known answers; curves take their time, and beyond P-256 are tested when `full`. */
export function knownAnswerTest(alg: u32, full: bool): bool {
  switch (alg) {
    case TPM_ALG_SHA1:
      return symmetricSelfTest(HASH_SHA1) != 0;
    case TPM_ALG_SHA256:
      return symmetricSelfTest(HASH_SHA256) != 0;
    case TPM_ALG_SHA384:
      return symmetricSelfTest(HASH_SHA384) != 0;
    case TPM_ALG_SHA512:
      return symmetricSelfTest(HASH_SHA512) != 0;
    case TPM_ALG_KDF1_SP800_108:
      return symmetricSelfTest(SELF_TEST_KDFA) != 0;
    case TPM_ALG_AES:
      return symmetricSelfTest(SELF_TEST_AES) != 0;
    case TPM_ALG_CAMELLIA:
      return symmetricSelfTest(SELF_TEST_CAMELLIA) != 0;
    case TPM_ALG_TDES:
      return symmetricSelfTest(SELF_TEST_TDES) != 0;
    case TPM_ALG_CFB:
      return symmetricSelfTest(SELF_TEST_CFB) != 0;
    case TPM_ALG_RSASSA:
      return rsaSelfTest(RSA_SCHEME_RSASSA) != 0;
    case TPM_ALG_RSAPSS:
      return rsaSelfTest(RSA_SCHEME_RSAPSS) != 0;
    case TPM_ALG_RSAES:
      return rsaSelfTest(RSA_SCHEME_RSAES) != 0;
    case TPM_ALG_OAEP:
      return rsaSelfTest(RSA_SCHEME_OAEP) != 0;
    case TPM_ALG_ECDSA:
      return curves(SELF_TEST_ECDSA, full);
    case TPM_ALG_ECDH:
      return curves(SELF_TEST_ECDH, full);
    case TPM_ALG_ECSCHNORR:
      return curves(SELF_TEST_ECSCHNORR, full);
  }
  return true;
}

function curves(scheme: u32, full: bool): bool {
  if (ecSelfTest(CURVE_P256, scheme) == 0) return false;
  if (full)
    for (let id: u32 = 0; id < CURVE_COUNT; id++) if (id != CURVE_P256 && ecSelfTest(id, scheme) == 0) return false;
  return true;
}
