// Letting others run: the next turn of the event loop, without a timer's delay.

type Immediate = (callback: () => void) => unknown;

const immediate = (globalThis as { setImmediate?: Immediate }).setImmediate;

/** Resolves in a later turn of the event loop, after pending input and output. */
export function nextTurn(): Promise<void> {
  if (immediate) return new Promise((resolve) => immediate(resolve));
  // Browsers: a message is a task of its own and is not throttled as timers are.
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });
}
