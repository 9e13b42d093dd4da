"""The contrast of a page's text, measured in the browser."""

# Of all text that is shown: its contrast with what lies behind it, by the formula of WCAG 2.
CONTRASTS = """() => {
  const parse = (colour) => {
    const numbers = colour.match(/[\\d.]+/g).map(Number), unit = colour.startsWith("color(") ? 1 : 255;
    return { rgb: numbers.slice(0, 3).map((v) => v / unit), alpha: numbers[3] ?? 1 };
  };
  const light = (rgb) => rgb.map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const ground = parse(getComputedStyle(at).backgroundColor);
      if (ground.alpha > 0) return ground.rgb;
    }
  };
  return [...document.querySelectorAll("body *")]
    .filter((one) => !one.closest("script, style, svg, #tip") && one.checkVisibility())
    .filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()))
    .map((one) => {
      const [a, b] = [parse(getComputedStyle(one).color).rgb, behind(one)].map(light).sort((x, y) => y - x);
      return [(a + 0.05) / (b + 0.05), one.className, one.textContent.trim().slice(0, 20)];
    });
}"""
