// What is wrong with a drawn graph, measured on the SVG as the browser drew it. Called with each edge's two boxes; returns [rule, ids] pairs.
(ends) => {
  const svg = document.querySelector("svg.graph");
  const found = [];
  const at = (element, x, y) => new DOMPoint(x, y).matrixTransform(svg.getScreenCTM().inverse().multiply(element.getScreenCTM()));
  // A stack is drawn as several sheets: the box is what all of them cover.
  const frame = (sheets) => {
    const corners = sheets.flatMap((sheet) => { const b = sheet.getBBox(); return [at(sheet, b.x, b.y), at(sheet, b.x + b.width, b.y + b.height)]; });
    const xs = corners.map((p) => p.x), ys = corners.map((p) => p.y);
    return { x0: Math.min(...xs), y0: Math.min(...ys), x1: Math.max(...xs), y1: Math.max(...ys) };
  };
  const apart = (a, b, by) => a.x1 < b.x0 + by || b.x1 < a.x0 + by || a.y1 < b.y0 + by || b.y1 < a.y0 + by;
  const away = (p, b) => Math.hypot(Math.max(b.x0 - p.x, 0, p.x - b.x1), Math.max(b.y0 - p.y, 0, p.y - b.y1));
  const boxes = [...svg.querySelectorAll("g.nodes > a.n:not(.k-way)")].map((a) => ({ id: a.id, a, ...frame([...a.querySelectorAll(":scope > path")]) }));
  const named = new Map(boxes.map((box) => [box.id, box]));
  if (boxes.length > 60) found.push(["more than 60 boxes", String(boxes.length)]);
  boxes.forEach((box, i) => boxes.slice(i + 1).forEach((other) => {
    if (!apart(box, other, 1)) found.push(["boxes overlap", `${box.id} ${other.id}`]);
  }));
  for (const box of boxes) for (const text of box.a.querySelectorAll("text.t1, text.t2")) {
    const b = text.getBBox(), start = at(text, b.x, b.y).x;
    if (start < box.x0 - 1 || start + text.getComputedTextLength() > box.x1 + 1) found.push(["text outside its box", box.id]);
  }
  for (const [id, tail, head] of ends) {
    const edge = document.getElementById(id), path = edge && edge.querySelector("path");
    if (!path || !named.has(tail) || !named.has(head)) { found.push(["edge not drawn", id]); continue; }
    const length = path.getTotalLength(), count = Math.max(2, Math.ceil(length / 3));
    const line = Array.from({ length: count + 1 }, (_, n) => { const p = path.getPointAtLength((length * n) / count); return at(path, p.x, p.y); });
    const tips = [line[0], line[count]], pair = [named.get(tail), named.get(head)];
    const gap = Math.min(...[pair, [...pair].reverse()].map((order) => Math.max(...order.map((box, n) => away(tips[n], box)))));
    // An arrow's tip is a shape of its own, at most 10 long, after the line's end.
    if (gap > 14) found.push(["end does not touch", id]);
    for (const box of boxes) if (!pair.includes(box) && line.some((p) => p.x > box.x0 + 2 && p.x < box.x1 - 2 && p.y > box.y0 + 2 && p.y < box.y1 - 2))
      found.push(["edge crosses a box", `${id} ${box.id}`]);
  }
  return found;
}
