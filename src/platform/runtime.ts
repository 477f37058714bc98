// Which runtime this is.

const { bun, deno, node, v8 } = process.versions;

/** "Node 26.10.0, V8 14.6.202.34": for people. */
export const runtimeName = bun ? `Bun ${bun}` : `${deno ? `Deno ${deno}` : `Node ${node}`}, V8 ${v8}`;

/** Whether it is Node itself, whose internals do what they do: Deno and Bun have some of the same names. */
export const isNode = bun === undefined && deno === undefined;

/** Whether net.Socket reads from an inherited descriptor; Bun makes one that stays silent. */
export const adoptsSockets = bun === undefined;
