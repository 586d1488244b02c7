"use strict";
// Shows the album as the server tells it, and sends files to it. Names of files are
// other people's: they are set as text, never as HTML.
const wanted = ["thumb", "medium", "large"];
const pictures = new Map(); // id → picture
const cards = new Map(); // id → element
const at = id => document.getElementById(id);
at("address").textContent = location.origin + "/pictures";

function element(name, text) {
  const e = document.createElement(name);
  if (text !== undefined) e.textContent = text;
  return e;
}

function card(p) {
  const figure = element("figure");
  const frame = element("div");
  frame.className = "frame";
  const thumb = p.sizes.thumb;
  if (thumb && !thumb.error) {
    const img = element("img");
    img.src = `/pictures/${p.id}/thumb.jpg`;
    img.width = thumb.width;
    img.height = thumb.height;
    img.alt = p.name;
    frame.append(img);
  } else {
    frame.textContent = thumb ? "could not be read" : "waiting …";
  }
  const list = element("ul");
  for (const size of [...wanted, ...Object.keys(p.sizes).filter(s => !wanted.includes(s)).sort()]) {
    const done = p.sizes[size];
    const item = element("li");
    if (!done) {
      item.textContent = size;
    } else if (done.error) {
      item.className = "failed";
      item.textContent = `${size} failed`;
      item.title = done.error;
    } else {
      item.className = "done";
      const link = element("a", size);
      link.href = `/pictures/${p.id}/${size}.jpg`;
      item.title = `${done.width} × ${done.height}, ${Math.ceil(done.bytes / 1000)} kB, by ${done.worker}`;
      item.append(link);
    }
    list.append(item);
  }
  const caption = element("figcaption", p.name);
  caption.title = p.name;
  figure.append(frame, caption, list);
  return figure;
}

function totals() {
  const rows = wanted.map(size => {
    const label = element("label");
    const bar = element("progress");
    let n = 0;
    for (const p of pictures.values()) if (p.sizes[size]) n++;
    bar.max = Math.max(1, pictures.size);
    bar.value = n;
    label.append(element("span", `${size} ${n} of ${pictures.size}`), bar);
    return label;
  });
  at("totals").replaceChildren(...rows);
}

function listen() {
  const events = new EventSource("/events");
  events.onmessage = e => {
    for (const p of JSON.parse(e.data)) {
      pictures.set(p.id, p);
      const fresh = card(p);
      const old = cards.get(p.id);
      if (old) old.replaceWith(fresh);
      else at("album").prepend(fresh);
      cards.set(p.id, fresh);
    }
    if (pictures.size > 0) at("empty")?.remove();
    totals();
  };
  events.onopen = () => { if (at("note").dataset.lost) { at("note").textContent = ""; delete at("note").dataset.lost; } };
  events.onerror = () => { at("note").textContent = "The server is gone."; at("note").dataset.lost = "yes"; };
}

at("files").addEventListener("change", async () => {
  const refused = [];
  for (const file of at("files").files) {
    at("note").textContent = `Sending ${file.name} …`;
    try {
      const answer = await fetch("/pictures?name=" + encodeURIComponent(file.name), { method: "POST", body: file });
      if (answer.status !== 202) refused.push(`${file.name}: ${(await answer.text()).trim()}`);
    } catch {
      refused.push(`${file.name}: not sent`);
    }
  }
  at("note").textContent = refused.join("; ");
  at("upload").reset();
});

totals();
listen();
