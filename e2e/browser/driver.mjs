// Drives Chromium for the tests in Go: a line of JSON in for each thing to do, a line of JSON out with what came of it. It ends with its
// input. The tests and what they hold of the pages are in browser_test.go and browserviews_test.go.
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const browser = await chromium.launch({
  executablePath: process.argv[2],
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-dev-shm-usage', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-extensions', '--hide-scrollbars'],
});
const tabs = new Map();

// What moves after it was drawn, without a hand that moved it, is added up in window.shifted.
const watchLayout = () => {
  window.shifted = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
  }).observe({ type: 'layout-shift', buffered: true });
};

const actions = {
  async tab({ id, view }) {
    const context = await browser.newContext({
      viewport: { width: view.width, height: view.height },
      deviceScaleFactor: view.scale || 1,
      isMobile: view.width < 600,
      colorScheme: view.dark ? 'dark' : 'light',
      javaScriptEnabled: !view.noJS,
    });
    await context.addInitScript(watchLayout);
    const page = await context.newPage();
    if (view.media) await page.emulateMedia({ media: view.media });
    const tab = { context, page, loads: 0, asked: [], faults: [] };
    page.on('load', () => { tab.loads++; });
    page.on('request', (request) => tab.asked.push(request.url()));
    page.on('pageerror', (error) => tab.faults.push(`error: ${error.message}`));
    page.on('console', (message) => tab.faults.push(`${message.type()}: ${message.text()}`));
    page.on('dialog', async (dialog) => {
      tab.faults.push(`dialog: ${dialog.message()}`);
      await dialog.dismiss();
    });
    tabs.set(id, tab);
  },
  async close({ tab }) {
    await tab.context.close();
  },
  reload: ({ tab }) => tab.page.reload().then(() => null),
  // What the library has no word for, in the protocol's own.
  async protocol({ tab, method, params }) {
    const session = await tab.context.newCDPSession(tab.page);
    try {
      return await session.send(method, params ?? {});
    } finally {
      await session.detach();
    }
  },
  open: ({ tab, url }) => tab.page.goto(url).then(() => null),
  eval: ({ tab, js }) => tab.page.evaluate(js),
  press: ({ tab, key }) => tab.page.keyboard.press(key),
  click: ({ tab, selector }) => tab.page.locator(selector).first().click({ noWaitAfter: true }),
  async shot({ tab, path }) {
    await tab.page.screenshot({ path });
  },
  async state({ tab }) {
    return { loads: tab.loads, asked: tab.asked, faults: tab.faults };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: what, with: how } = JSON.parse(line);
  const answer = { id };
  try {
    if (what !== 'tab') how.tab = tabs.get(how.id);
    answer.value = (await actions[what](how)) ?? null;
  } catch (error) {
    answer.error = error.message;
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
