// What a user of a TPM might send: makers of commands by subject, and how often each subject comes up.
import { byHierarchies, clock, integrity, management, sequences } from "./engine-makers-basic.ts";
import { keys } from "./engine-makers-key.ts";
import { nvCommands } from "./engine-makers-nv.ts";
import { objects } from "./engine-makers-object.ts";
import { policies, sessions } from "./engine-makers-policy.ts";
import type { Entity, UserMemory } from "./engine-memory.ts";
import type { Digits, SessionStart } from "./engine-steps.ts";

export interface Parts {
  readonly handles?: readonly Entity[];
  /** The parameters. */
  readonly body?: Digits;
  readonly starts?: SessionStart;
  /** The authValue of the first handle's entity after the command, where that changes it. */
  readonly authAfter?: string;
}

/** Name and code of a command, and what is sent with it. What has an authorization role in its definition gets an authorization. */
export type Maker = readonly [name: string, code: number, make: (s: UserMemory) => Parts];

/** Makers with the share of commands that they get. */
export const makerGroups: readonly (readonly [weight: number, makers: readonly Maker[]])[] = [
  [14, integrity],
  [10, sequences],
  [10, sessions],
  [14, policies],
  [10, byHierarchies],
  [4, clock],
  [6, management],
  [22, nvCommands],
  [18, objects],
  [18, keys],
];
