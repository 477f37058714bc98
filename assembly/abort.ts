// What `abort` becomes: no strings cross the edge of the module, so the place of the failure is left in two
// globals that the host reads after the trap (docs/abi.md).

export let abortLine: i32 = 0;
export let abortColumn: i32 = 0;

export function abort(_message: usize, _file: usize, line: i32, column: i32): void {
  abortLine = line;
  abortColumn = column;
  unreachable();
}
