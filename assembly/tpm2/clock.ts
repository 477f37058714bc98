// Time and clock (Part 1, 36): milliseconds since power-on, the non-volatile clock, its rate, and what a stopped timer means.
// The timer follows libtpms' platform code so that a suspended TPM goes on where it stood.
import { go, g, gp, gr, nvChanged, savedOrderly, isOrderly } from "./data";
import { daSelfHeal } from "./da";
import { SIZEOF_ORDERLY_DATA_RECORD } from "./generated/engine-records";
import { TPMS_CLOCK_INFO } from "./generated/structures";
import { monotonicMilliseconds } from "./host";

const CLOCK_NOMINAL: u64 = 30000;
const CLOCK_ADJUST_LIMIT: u64 = 5000;
/** The clock in NV is brought up to date every 2^12 ms. */
const CLOCK_UPDATE_MASK: u64 = 0xfff;

/** The timer behind `time`; the volatile state has every field of it. */
@unmanaged
export class Timer {
  /** Host time at the last reading, and the host time counted so far. */
  lastSystemTime: u64;
  lastReportedTime: u64;
  realTimePrevious: u64;
  tpmTime: u64;
  /** Added to the host's monotonic time: other hosts have another zero, and a suspension passes time. */
  hostMonotonicAdjustTime: i64;
  suspendedElapsedTime: u64;
  adjustRate: u32;
  reset: bool;
  stopped: bool;
}

export const timer = changetype<Timer>(memory.data(64, 16));

/** Power-on. */
export function timerReset(): void {
  memory.fill(changetype<usize>(timer), 0, offsetof<Timer>());
  timer.adjustRate = <u32>CLOCK_NOMINAL;
  timer.reset = true;
  timer.stopped = true;
}

/** Host milliseconds, going on across a suspension. */
export function hostTime(): u64 {
  return monotonicMilliseconds() + <u64>timer.hostMonotonicAdjustTime + timer.suspendedElapsedTime;
}

function timerRead(): u64 {
  let now = hostTime();
  if (timer.lastSystemTime == 0) {
    timer.lastSystemTime = now;
    timer.lastReportedTime = 0;
    timer.realTimePrevious = 0;
  }
  // A host clock that went back does not take the TPM's with it.
  if (now < timer.lastReportedTime) timer.lastSystemTime = now;
  timer.lastReportedTime = timer.lastReportedTime + now - timer.lastSystemTime;
  timer.lastSystemTime = now;
  now = timer.lastReportedTime;
  if (timer.realTimePrevious >= now) return timer.tpmTime;
  const rate: u64 = timer.adjustRate;
  const adjusted = ((now - timer.realTimePrevious) * CLOCK_NOMINAL) / rate;
  timer.tpmTime += adjusted;
  timer.realTimePrevious += (adjusted * rate) / CLOCK_NOMINAL;
  return timer.tpmTime;
}

function timerWasStopped(): bool {
  const was = timer.stopped;
  timer.stopped = false;
  return was;
}

export function timerWasReset(): bool {
  const was = timer.reset;
  timer.reset = false;
  return was;
}

/** _TPM_Init. */
export function timePowerOn(): void {
  g.time = timerRead();
}

/** TPM2_Startup. */
export function timeStartup(): void {
  if (!isOrderly(gp.orderlyState)) go.clockSafe = 0;
}

/** Sets the clock; at each save point it becomes safe and the orderly data in NV follows. The clock alone stores nothing. */
export function timeClockUpdate(newTime: u64): void {
  if ((newTime | CLOCK_UPDATE_MASK) > (go.clock | CLOCK_UPDATE_MASK)) {
    go.clockSafe = 1;
    go.clock = newTime;
    saveOrderlyData();
  } else go.clock = newTime;
}

/** Copies the orderly data to what a power cycle finds. */
export function saveOrderlyData(): void {
  memory.copy(savedOrderly, changetype<usize>(go), SIZEOF_ORDERLY_DATA_RECORD);
}

export function restoreOrderlyData(): void {
  memory.copy(changetype<usize>(go), savedOrderly, SIZEOF_ORDERLY_DATA_RECORD);
}

/** Brings time and clock up to now. */
export function timeUpdate(): void {
  if (timerWasStopped()) {
    // A new epoch: what was promised for a time in the old one does not hold any more (Part 1, 36.7).
    gp.timeEpoch++;
    nvChanged();
  }
  const elapsed = timerRead() - g.time;
  g.time += elapsed;
  timeClockUpdate(go.clock + elapsed);
  daSelfHeal();
}

/** At the beginning of each command, so that the time is one during it. */
export function timeUpdateToCurrent(): void {
  if (g.started) timeUpdate();
}

/** TPM2_ClockRateAdjust: -3 coarse slower … 3 coarse faster. */
export function timeSetAdjustRate(adjust: i32): void {
  const step: i32 = adjust == 0 ? 0 : abs(adjust) == 1 ? 1 : abs(adjust) == 2 ? 30 : 300;
  let rate = <i32>timer.adjustRate + (adjust < 0 ? step : -step);
  rate = max(<i32>(CLOCK_NOMINAL - CLOCK_ADJUST_LIMIT), min(<i32>(CLOCK_NOMINAL + CLOCK_ADJUST_LIMIT), rate));
  timer.adjustRate = <u32>rate;
}

export function timeFillInfo(info: TPMS_CLOCK_INFO): void {
  info.clock = go.clock;
  info.resetCount = gp.resetCount;
  info.restartCount = gr.restartCount;
  info.safe = go.clockSafe;
}
