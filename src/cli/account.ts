// --runas
import { findAccount, OptionError } from "./option-list.ts";

/**
 * Gives up root's rights for those of a user, named or by number.
 *
 * @throws OptionError when there is no such user, or this process may not.
 */
export function changeUser(user: string): void {
  // Node has initgroups; its type declarations lack it.
  const { setuid, setgid, setgroups, initgroups } = process as typeof process & {
    initgroups?: (user: string, extraGroup: number) => void;
  };
  if (!setuid || !setgid || !setgroups || !initgroups) throw new OptionError("--runas is not possible on this system");
  const byNumber = /^\d+$/.test(user);
  const account = byNumber ? undefined : findAccount(user, "/etc/passwd");
  if (!byNumber && !account) throw new OptionError(`Error: User '${user}' does not exist.`);
  const uid = Number(account?.[2] ?? user);
  const gid = Number(account?.[3] ?? user);
  try {
    if (account) initgroups(user, gid);
    else setgroups([gid]);
    setgid(gid);
    setuid(uid);
  } catch (error) {
    throw new OptionError(`Error: cannot run as user ${user}: ${(error as Error).message}`);
  }
}
