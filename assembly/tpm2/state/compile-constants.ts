// PA_COMPILE_CONSTANTS: the writer's compile-time constants, which a reader compares with its own. libtpms 0.11's, in the order
// of its table: algorithms, key sizes, curves, limits.
import { TPM_RC_BAD_PARAMETER } from "./codes";
import { extensionBlock, header, isReading, transferError, transferFail, u32Value } from "./transfer";

const MAGIC: u32 = 0xc9ea6431;
const VERSION: u32 = 3;
const COUNT: u32 = 120;
/** How many versions 1 and 2 had. */
const OLD_COUNT: u32 = 88;

const VALUES = memory.data<u32>([
  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3072, 192, 256,
  128, 128, 1, 1, 1, 1, 1, 1, 1, 1, 638, 4, 4, 24, 24, 17, 0, 5, 3, 64, 3, 3, 3, 7, 1, 1, 2680, 1024, 2048, 1024, 1024,
  176832, 8, 16, 64, 64, 6, 12, 1, 8, 128, 64, 512, 65537, 1, 1, 0, 1024, 8192, 64, 4, 1, 0, 1, 0, 1, 1, 0, 1, 0, 0, 0,
  1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
]);

/** 0: the writer's value has to be this one; 1: it may be smaller. */
const MAY_BE_SMALLER = memory.data<u8>([
  0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0,
  1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
  1, 1, 1,
]);

export function compileConstantsTransfer(): void {
  const version = header(VERSION, MAGIC, 1);
  const count = u32Value(COUNT);
  if (transferError() != 0) return;
  if (isReading() && count != (version <= 2 ? OLD_COUNT : COUNT)) {
    transferFail(TPM_RC_BAD_PARAMETER);
    return;
  }
  for (let i: u32 = 0; i < count; i++) {
    const own = load<u32>(VALUES + 4 * <usize>i);
    const found = u32Value(own);
    const fits = load<u8>(MAY_BE_SMALLER + i) != 0 ? found <= own : found == own;
    if (!fits) transferFail(TPM_RC_BAD_PARAMETER);
  }
  extensionBlock(version);
}
