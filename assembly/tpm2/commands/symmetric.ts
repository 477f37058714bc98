// Part 3, 15: symmetric primitives that need no key.
import { TPM_RH_NULL, TPM_ST_HASHCHECK } from "../generated/constants";
import { Hash_In, Hash_Out } from "../generated/records";
import { cryptHashBlock } from "../hash";
import { ticketComputeHashCheck, ticketIsSafe } from "../tickets";

export function Hash(input: Hash_In, output: Hash_Out): u32 {
  output.outHash.size = cryptHashBlock(input.hashAlg, input.data.buffer, input.data.size, output.outHash.buffer);
  output.validation.tag = TPM_ST_HASHCHECK;
  output.validation.hierarchy = TPM_RH_NULL;
  output.validation.digest.size = 0;
  // Data too short to be a TPM's structure is safe here; in a sequence it is not.
  if (input.hierarchy != TPM_RH_NULL && (input.data.size < 4 || ticketIsSafe(input.data))) {
    ticketComputeHashCheck(input.hierarchy, input.hashAlg, output.outHash, output.validation);
  }
  return 0;
}
