// Between device and TPM: tells somebody of every command and its response.
import type { Answer, DevicePort } from "../../src/frontend/index.ts";

/** Told of a command when its response is there, which is undefined when the TPM gave none. The bytes may be kept. */
export type Observer = (command: Uint8Array, response: Uint8Array | undefined, locality: number) => void;

/** `port`, with `observe` called for each command before the guest has the response. */
export function observedPort(port: DevicePort, observe: Observer): DevicePort {
  return {
    get family() {
      return port.family;
    },
    settle: () => port.settle(),
    queryBufferSize: () => port.queryBufferSize(),
    startup: (bufferSize, resume) => port.startup(bufferSize, resume),
    submit(command: Uint8Array, locality: number, answer: Answer): boolean {
      const bytes = command.slice();
      return port.submit(bytes, locality, (response) => {
        observe(bytes, response?.slice(), locality);
        answer(response);
      });
    },
    cancel: () => port.cancel(),
    established: () => port.established(),
    resetEstablished: (locality) => port.resetEstablished(locality),
  };
}
