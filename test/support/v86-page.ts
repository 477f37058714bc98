// The demo page in headless Chromium, served as `npm run demo` serves it.
import { type Browser, chromium, type Page } from "playwright-core";
import { PATIENCE_MS, type Program, start, until } from "./process.ts";

/** Debian's; playwright-core brings none. */
const CHROMIUM = "/usr/bin/chromium";

export class DemoPage {
  readonly page: Page;
  readonly url: string;
  /** What the page itself complained of. */
  readonly errors: string[] = [];
  readonly #browser: Browser;
  readonly #server: Program;

  private constructor(server: Program, url: string, browser: Browser, page: Page) {
    this.#server = server;
    this.url = url;
    this.#browser = browser;
    this.page = page;
    page.on("pageerror", (error) => this.errors.push(`${error}`));
    page.on("console", (message) => {
      if (message.type() === "error") this.errors.push(message.text());
    });
  }

  /** Starts the server and opens the page, whose machine then boots. The package has to be built. */
  static async open(): Promise<DemoPage> {
    const server = start(process.execPath, ["scripts/demo.mjs", "--no-build", "--port", "0"]);
    let browser: Browser | undefined;
    try {
      const url = await until("the demo's server", () => {
        const { stdout, stderr } = server.output();
        if (server.hasExited()) throw new Error(`the demo's server has ended: ${stderr}`);
        return /http:\S+/.exec(stdout)?.[0];
      });
      browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"], timeout: 3 * PATIENCE_MS });
      const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
      const demo = new DemoPage(server, url, browser, page);
      await page.goto(url, { timeout: 3 * PATIENCE_MS });
      return demo;
    } catch (error) {
      await browser?.close();
      await server.kill();
      throw error;
    }
  }

  /** Waits until the page says so. @throws Error after `limit` milliseconds, with what the page shows */
  async shows(selector: string, text: string | RegExp, limit: number): Promise<string> {
    const found = (shown: string) => (typeof text === "string" ? shown.includes(text) : text.test(shown));
    try {
      return await until(
        `'${text}' in ${selector}`,
        async () => {
          const shown = (await this.page.textContent(selector)) ?? "";
          return found(shown) && shown;
        },
        limit,
      );
    } catch (error) {
      const status = await this.page.textContent("#status");
      const terminal = (await this.page.textContent("#terminal")) ?? "";
      const said = `${status}; ${this.errors.join("; ")}\n${terminal.slice(-2000)}`;
      throw new Error(`${(error as Error).message}; the page says: ${said}`);
    }
  }

  async close(): Promise<void> {
    await this.#browser.close();
    await this.#server.kill();
  }
}
