// Our server and Debian's swtpm, asked the same over their control channels, in any order and any state. WTPM_CONTROL_SEED takes
// other requests than the fixed ones of CI, WTPM_CONTROL_REQUESTS more of them.
import { expect, test } from "vitest";
import { ServerPeer, SwtpmPeer } from "../support/control-peer.ts";
import { ControlLockStep } from "../support/control-lock-step.ts";
import { Seeded } from "../support/seeded.ts";

const SEED = process.env.WTPM_CONTROL_SEED ?? "1";
const REQUESTS = Number(process.env.WTPM_CONTROL_REQUESTS ?? 1500);

test.each([
  ["as it is", {}],
  ["that refuses locality 4", { rejectLocality4: true }],
  ["that is shut down before it is stopped", { autoShutdown: true }],
] as const)("a server %s", async (name, { ...options }: { rejectLocality4?: boolean; autoShutdown?: boolean }) => {
  await using ours = new ServerPeer({ autoShutdown: false, ...options });
  await using theirs = new SwtpmPeer(options);
  const step = new ControlLockStep(ours, theirs, options);
  await step.start();
  const random = new Seeded(`control ${SEED} ${name}`);
  while (step.requests < REQUESTS) await step.next(random);
  console.info(step.summary());
  // Requests that only failed would prove nothing.
  expect(step.succeeded).toBeGreaterThan(REQUESTS / 3);
});
