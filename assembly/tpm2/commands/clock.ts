// Part 3, 29: clocks and timers.
import { timeClockUpdate, timeFillInfo, timeSetAdjustRate } from "../clock";
import { g, go } from "../data";
import { TPM_RC_1, TPM_RC_P, TPM_RC_VALUE } from "../generated/constants";
import { ClockRateAdjust_In, ClockSet_In, ReadClock_Out } from "../generated/records";

const MAX_CLOCK: u64 = 0xffff000000000000;

export function ReadClock(output: ReadClock_Out): u32 {
  output.currentTime.time = g.time;
  timeFillInfo(output.currentTime.clockInfo);
  return 0;
}

export function ClockSet(input: ClockSet_In): u32 {
  if (input.newTime > MAX_CLOCK || input.newTime < go.clock) return TPM_RC_VALUE + TPM_RC_P + TPM_RC_1;
  timeClockUpdate(input.newTime);
  return 0;
}

export function ClockRateAdjust(input: ClockRateAdjust_In): u32 {
  timeSetAdjustRate(input.rateAdjust);
  return 0;
}
