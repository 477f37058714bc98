export const packages: Readonly<Record<string, string | readonly string[]>>;
export const guestKernel: string;
export const i386Kernel: string;
export const i386Busybox: string;
export function missingPackages(): string[];
export function fetchGuestFiles(places?: readonly string[]): void;
export function ensureClients(): void;
