// TPMU_HA: a digest whose size follows from its algorithm.
import { marshalBytes, unmarshalBytes } from "./cursor";
import { digestSizeOf } from "./hash";
import { TPM_ALG_NULL, TPM_RC_SELECTOR } from "./generated/constants";

@unmanaged
export class TPMU_HA {
  /** Address of the first byte. */
  @inline
  get buffer(): usize {
    return changetype<usize>(this);
  }
}

export function unmarshal_TPMU_HA(target: usize, hashAlg: u32): u32 {
  if (hashAlg == TPM_ALG_NULL) return 0;
  const size = digestSizeOf(hashAlg);
  return size == 0 ? TPM_RC_SELECTOR : unmarshalBytes(target, size);
}

export function marshal_TPMU_HA(target: usize, hashAlg: u32): void {
  marshalBytes(target, digestSizeOf(hashAlg));
}
