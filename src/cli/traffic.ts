// Commands and responses as they pass, one line each.
import type { describeCommand, describeResponse } from "../codec/index.ts";

/** What src/codec gives for this. */
export interface Describer {
  readonly describeCommand: typeof describeCommand;
  readonly describeResponse: typeof describeResponse;
}

const HEADER_SIZE = 10;

/** Makes a TpmServer's `observe` of a place for lines: "12:00:01.234  TPM2_GetRandom …  ->  TPM_RC_SUCCESS …". */
export function trafficLines(
  codec: Describer,
  line: (text: string) => void,
): (command: Uint8Array, response: Uint8Array) => void {
  return (command, response) => {
    const time = new Date().toISOString().slice(11, 23);
    const code = command.length < HEADER_SIZE ? 0 : new DataView(command.buffer, command.byteOffset).getUint32(6);
    line(`${time}  ${codec.describeCommand(command)}  ->  ${codec.describeResponse(response, code)}`);
  };
}
