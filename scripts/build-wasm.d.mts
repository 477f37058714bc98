export const root: string;
export function buildWasm(names?: string[]): Promise<void>;
