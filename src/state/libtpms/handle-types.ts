// The upper bytes of handles (Part 2, 7.2) that states have.
export const TPM_HT = { NV_INDEX: 0x01, HMAC_SESSION: 0x02, POLICY_SESSION: 0x03, PERSISTENT: 0x81 } as const;
