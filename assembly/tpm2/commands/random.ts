// Part 3, 16: TPM2_GetRandom, TPM2_StirRandom.
import { MAX_DIGEST_SIZE } from "../generated/constants";
import { GetRandom_In, GetRandom_Out, StirRandom_In } from "../generated/records";
import { cryptRandomGenerate, cryptRandomStir } from "../random";

export function GetRandom(input: GetRandom_In, output: GetRandom_Out): u32 {
  output.randomBytes.size = min(input.bytesRequested, MAX_DIGEST_SIZE);
  cryptRandomGenerate(output.randomBytes.buffer, output.randomBytes.size);
  return 0;
}

export function StirRandom(input: StirRandom_In): u32 {
  cryptRandomStir(input.inData.buffer, input.inData.size);
  return 0;
}
