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

// What moves after it was drawn, without a hand that moved it, is reported at once: the next page would take it away.
const watchLayout = () => {
  new PerformanceObserver((list) => {
    for (const { hadRecentInput, value, sources } of list.getEntries()) {
      const what = sources.map(({ node }) => node?.nodeName ?? 'something').join(', ');
      if (!hadRecentInput) window.layoutShifted(`${what} of ${location.pathname}${location.search} moved: a layout shift of ${value}`);
    }
  }).observe({ type: 'layout-shift', buffered: true });
};

// A frame later all is drawn, and what moved has been reported. Without scripts there are no frames to wait for, and no reports.
const drawn = async ({ page, scripts }) => {
  if (scripts) await page.evaluate(() => new Promise((done) => { requestAnimationFrame(() => setTimeout(done)); }));
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
    const page = await context.newPage();
    if (view.media) await page.emulateMedia({ media: view.media });
    const tab = { context, page, scripts: !view.noJS, loads: 0, asked: [], faults: [] };
    if (tab.scripts) {
      await context.exposeFunction('layoutShifted', (fault) => { tab.faults.push(fault); });
      await context.addInitScript(watchLayout);
    }
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
  drawn: ({ tab }) => drawn(tab),
  async reload({ tab }) {
    await tab.page.reload();
    await drawn(tab);
  },
  // What the library has no word for, in the protocol's own.
  async protocol({ tab, method, params }) {
    const session = await tab.context.newCDPSession(tab.page);
    try {
      return await session.send(method, params ?? {});
    } finally {
      await session.detach();
    }
  },
  async open({ tab, url }) {
    await tab.page.goto(url);
    await drawn(tab);
  },
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
