// Contrast of text as WCAG 2 computes it (success criterion 1.4.3), from the styles that the browser computed.

/**
 * Every visible piece of text in the page with its contrast, worst first.
 * @returns {Promise<Array<{text: string, ratio: number, color: string, ground: string}>>}
 */
export async function contrasts(page) {
  return page.evaluate(measure);
}

/** Runs in the page. */
function measure() {
  const canvas = new OffscreenCanvas(1, 1);
  const brush = canvas.getContext('2d', { willReadFrequently: true });

  /** Any CSS colour, painted over a ground, as the bytes that reach the screen. */
  const paint = (colors) => {
    brush.clearRect(0, 0, 1, 1);
    for (const color of colors) {
      brush.fillStyle = color;
      brush.fillRect(0, 0, 1, 1);
    }
    return [...brush.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((byte) => {
      const share = byte / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const grounds = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.unshift(getComputedStyle(at).backgroundColor);
    return ['white', ...layers];
  };

  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim();
    const element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
    // What a recorded program chose is its own affair.
    if (element.closest('.visually-hidden, noscript, style, script, .xterm-helpers, .xterm-accessibility, .ap-term')) continue;
    const ground = grounds(element);
    const color = getComputedStyle(element).color;
    const [a, b] = [luminance(paint([...ground, color])), luminance(paint(ground))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    found.push({ text, ratio, color, ground: `rgb(${paint(ground)})` });
  }
  return found.sort((one, other) => one.ratio - other.ratio);
}
