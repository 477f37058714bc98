// Part 3, 10: testing.
import { algorithmEnabled } from "../algorithms";
import { algorithmByIndex } from "../capabilities";
import { MAX_ALG_LIST_SIZE, TPM_RC_1, TPM_RC_P, TPM_RC_VALUE } from "../generated/constants";
import { GetTestResult_Out, IncrementalSelfTest_In, IncrementalSelfTest_Out, SelfTest_In } from "../generated/records";
import { selfTestBeforeUse, selfTestInit, testAlgorithm, untested } from "../self-test";

/** Algorithms with tests have smaller identifiers. */
const ALG_END: u32 = 128;

/** Everything, or what is still untested. */
export function SelfTest(input: SelfTest_In): u32 {
  const full = input.fullTest == 1;
  if (full) selfTestInit();
  for (let alg: u32 = 0; alg < ALG_END; alg++) if (untested(alg) && algorithmEnabled(alg)) testAlgorithm(alg, full);
  return 0;
}

/** Tests what is asked for and lists what is left. */
export function IncrementalSelfTest(input: IncrementalSelfTest_In, output: IncrementalSelfTest_Out): u32 {
  const wanted = input.toTest;
  for (let i: u32 = 0; i < wanted.count; i++) {
    const alg = wanted.algorithms(i);
    if (!implemented(alg) || !algorithmEnabled(alg)) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_1;
  }
  for (let i: u32 = 0; i < wanted.count; i++) selfTestBeforeUse(wanted.algorithms(i));
  const left = output.toDoList;
  left.count = 0;
  for (let alg: u32 = 0; alg < ALG_END && left.count < MAX_ALG_LIST_SIZE; alg++) {
    if (!untested(alg) || !algorithmEnabled(alg)) continue;
    left.set_algorithms(left.count, alg);
    left.count++;
  }
  return 0;
}

function implemented(alg: u32): bool {
  for (let i: u32 = 0; algorithmByIndex(i) != 0; i++) if (algorithmByIndex(i) == alg) return true;
  return false;
}

/** A TPM that answers has passed; in failure mode failure-mode.ts answers. */
export function GetTestResult(output: GetTestResult_Out): u32 {
  output.outData.size = 0;
  output.testResult = 0;
  return 0;
}
