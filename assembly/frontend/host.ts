// What leaves a device: the imports of the module, all in the namespace "frontend" (docs/frontends.md).

/**
 * Hands a command of `length` bytes at `command` to the TPM, to run at `locality`. Answers 0 when a command runs already:
 * this one is then lost. The host copies the bytes before it returns; it may answer (`complete` or `fail`) at once,
 * from within this call, or at any later time.
 */
@external("frontend", "submit")
export declare function submit(locality: u32, command: usize, length: u32): u32;

/** Asks the running command to end early. Its response still has to be delivered. */
@external("frontend", "cancel")
export declare function cancel(): void;

/** The TPM's TPM_ESTABLISHED flag: 1 when a dynamic launch took place. */
@external("frontend", "established")
export declare function established(): u32;

/** Resets TPM_ESTABLISHED from `locality`. */
@external("frontend", "resetEstablished")
export declare function resetEstablished(locality: u32): void;

/** The interrupt line's new level, called when it changes. */
@external("frontend", "interrupt")
export declare function interrupt(level: u32): void;

/** Reads guest memory at the I/O address `address` to `to`. Answers 1, or 0 when any byte could not be read. */
@external("frontend", "dmaRead")
export declare function dmaRead(address: u32, to: usize, length: u32): u32;

/** Writes guest memory at the I/O address `address`. Answers 1, or 0 when any byte could not be written. */
@external("frontend", "dmaWrite")
export declare function dmaWrite(address: u32, from: usize, length: u32): u32;

/** Puts an entry of 16 bytes, as its two big-endian halves, into the guest's command/response queue. */
@external("frontend", "sendCrq")
export declare function sendCrq(high: u64, low: u64): void;
