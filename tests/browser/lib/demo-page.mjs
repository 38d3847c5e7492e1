// What a person does with the demo page.

import { expectState } from './expect.mjs';
import { Screen } from './screen.mjs';

/** Opens the printed address and waits for the list of providers. */
export async function openDemoPage(context, address) {
  const page = await context.newPage();
  await page.goto(address);
  await page.locator('#providers').waitFor();
  return page;
}

/** Chooses a provider, opens a terminal there, and waits until it is connected. */
export async function openTerminalAt(page, provider) {
  await page.locator(`input[value="${provider}"]`).check();
  await page.getByRole('button', { name: 'Open terminal' }).click();
  await expectState(page, /^Connected to /);
  return new Screen(page);
}

/** A prompt that no provider's shell has by itself, so that its return can be waited for. */
export const PROMPT = 'ready>';

/** Sets the prompt. The quotes keep the command's own echo from looking like it. */
export async function setPrompt(screen) {
  await screen.command("PS1='rea''dy> '");
  await screen.endsWith(PROMPT);
}
