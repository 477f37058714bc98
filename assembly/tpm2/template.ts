// Templates (Part 2, 12.2.6): a public area as TPM2_CreateLoaded takes it, whose unique field is, under a derivation parent,
// label and context.
import { TPM2B, inputLeft, setInput, unmarshalTPM2B } from "./cursor";
import { MAX_DIGEST_SIZE, TPM_RC_SIZE } from "./generated/constants";
import {
  TPMS_DERIVE,
  TPMT_PUBLIC,
  unmarshal_TPMA_OBJECT,
  unmarshal_TPMI_ALG_HASH,
  unmarshal_TPMI_ALG_PUBLIC,
  unmarshal_TPMS_DERIVE,
  unmarshal_TPMT_PUBLIC,
  unmarshal_TPMU_PUBLIC_PARMS,
} from "./generated/structures";

const FIELD: usize = memory.data(8, 8);

/** Unmarshals a template, all of which must be used. With `derive` its last field goes there. */
export function unmarshalTemplate(area: TPMT_PUBLIC, template: TPM2B, derive: TPMS_DERIVE | null): u32 {
  setInput(template.buffer, template.size);
  const rc = derive == null ? unmarshal_TPMT_PUBLIC(changetype<usize>(area), false) : unmarshalDerived(area, derive);
  return rc == 0 && inputLeft() != 0 ? TPM_RC_SIZE : rc;
}

function unmarshalDerived(area: TPMT_PUBLIC, derive: TPMS_DERIVE): u32 {
  let rc = unmarshal_TPMI_ALG_PUBLIC(FIELD);
  if (rc) return rc;
  area.type = load<u16>(FIELD);
  rc = unmarshal_TPMI_ALG_HASH(FIELD, false);
  if (rc) return rc;
  area.nameAlg = load<u16>(FIELD);
  rc = unmarshal_TPMA_OBJECT(FIELD);
  if (rc) return rc;
  area.objectAttributes = load<u32>(FIELD);
  rc = unmarshalTPM2B(changetype<usize>(area.authPolicy), MAX_DIGEST_SIZE);
  if (rc) return rc;
  rc = unmarshal_TPMU_PUBLIC_PARMS(changetype<usize>(area.parameters), area.type);
  return rc ? rc : unmarshal_TPMS_DERIVE(changetype<usize>(derive));
}
