// Chromium, trusting one demo's key, and what its pages say on the console.

import { chromium } from 'playwright-core';

/** Starts a browser that trusts the certificate of this demo and of nobody else. */
export async function launch(demo) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM_BIN ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      `--ignore-certificate-errors-spki-list=${await demo.publicKeyHash()}`,
    ],
  });
}

/** Collects everything that a context's pages print, and every uncaught error. */
export function listenToConsole(context) {
  const said = [];
  context.on('console', (message) => said.push(`${message.type()}: ${message.text()}`));
  context.on('weberror', (webError) => said.push(`uncaught: ${webError.error().stack}`));
  return said;
}
