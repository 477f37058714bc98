// Snapshots as people read them.
import type { Snapshot, SnapshotIndex } from "../state/snapshot/record.ts";

/** What the state came from. */
const HEAD_MARK = "*";
const DAY_AND_TIME = "0000-00-00 00:00:00".length;

/** A table: name, time (UTC), whether the TPM was running, whether it is for undoing, parent, description. The head has a mark. */
export function snapshotTable({ head, snapshots }: SnapshotIndex): string {
  const rows = snapshots.map((snapshot) => [
    `${snapshot.name === head ? HEAD_MARK : " "} ${snapshot.name}`,
    timeOf(snapshot),
    snapshot.running ? "running" : "stopped",
    snapshot.automatic ? "undo" : "-",
    snapshot.parent ?? "-",
    snapshot.description ?? "",
  ]);
  const lines = [["  NAME", "CREATED (UTC)", "TPM", "KIND", "PARENT", "DESCRIPTION"], ...rows];
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** What came from what, and where the state stands. */
export function snapshotTree({ head, snapshots }: SnapshotIndex): string {
  const children = new Map<string | undefined, Snapshot[]>();
  for (const snapshot of snapshots) {
    const siblings = children.get(snapshot.parent);
    if (siblings) siblings.push(snapshot);
    else children.set(snapshot.parent, [snapshot]);
  }
  const lines: string[] = [];
  const draw = (snapshot: Snapshot, before: string, mark: string, below: string): void => {
    const about = snapshot.description ? `  ${snapshot.description}` : "";
    const kinds = [snapshot.running && "running", snapshot.automatic && "undo"].filter(Boolean).join(", ");
    lines.push(`${before}${mark}${snapshot.name}${kinds && ` (${kinds})`}${about}`);
    const own = children.get(snapshot.name) ?? [];
    const last = own.length - (snapshot.name === head ? 0 : 1);
    own.forEach((child, at) => {
      const more = at < last;
      draw(child, before + below, more ? "├─ " : "└─ ", more ? "│  " : "   ");
    });
    if (snapshot.name === head) lines.push(`${before}${below}└─ ${HEAD_MARK} the state now`);
  };
  for (const root of children.get(undefined) ?? []) draw(root, "", "", "");
  if (head === undefined) lines.push(`${HEAD_MARK} the state now`);
  return lines.join("\n");
}

/** For programs: the index without what is the repository's own business. */
export function snapshotJson(index: SnapshotIndex | undefined): string {
  const snapshots = (index?.snapshots ?? []).map(({ objects: _objects, ...snapshot }) => snapshot);
  return JSON.stringify({ ...(index?.head === undefined ? {} : { head: index.head }), snapshots }, undefined, 2);
}

function timeOf({ created }: Snapshot): string {
  return created.replace("T", " ").slice(0, DAY_AND_TIME);
}
