// A TPM for a moment: an engine with a stored state, which runs a few commands and gives its state back.
import { TpmClient } from "../codec/client.ts";
import { Engine, PENDING } from "../engine/engine.ts";
import { engineModule } from "../engine/module.ts";
import { stateErrorText } from "../engine/state-error.ts";
import { StateError } from "../state/store.ts";

/** @throws StateError "damaged" when the engine does not take the state */
export function loadEngine(permanent: Uint8Array): Engine {
  const engine = new Engine(engineModule());
  const rc = engine.loadPermanent(permanent);
  if (rc !== 0) throw new StateError("damaged", stateErrorText("permanent", rc, permanent));
  return engine;
}

/** A client of an engine that is powered on. */
export function clientOf(engine: Engine): TpmClient {
  return new TpmClient((command) => {
    let size = engine.execute(command, 0);
    while (size === PENDING) size = engine.resume();
    return engine.response(size);
  });
}
