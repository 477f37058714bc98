export const packages: Readonly<Record<string, string | readonly string[]>>;
export const guestKernel: string;
export function missingPackages(): string[];
export function ensureClients(): void;
