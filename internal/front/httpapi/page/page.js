// The page of the API: made of openapi.json, which says everything that is shown here. It asks this server and nobody else,
// keeps nothing beyond its own memory, and puts text into the page as text only.
"use strict";

const most = 256 * 1024; // characters of an answer that are shown

function make(name, attributes, ...inside) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "class") node.className = value;
    else if (key === "on") for (const [event, f] of Object.entries(value)) node.addEventListener(event, f);
    else if (value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...inside.filter((x) => x !== undefined && x !== ""));
  return node;
}

// resolve follows a reference within the document.
function resolve(doc, schema) {
  for (let n = 0; schema && schema.$ref && n < 20; n++) schema = schema.$ref.slice(2).split("/").reduce((at, key) => at && at[key], doc);
  return schema || {};
}

function kind(schema) {
  const types = [].concat(schema.type || []).filter((t) => t !== "null");
  return types[0] || (schema.properties ? "object" : "anything");
}

function describe(doc, schema) {
  const s = resolve(doc, schema);
  if (s.enum) return s.enum.join(" | ");
  if (kind(s) === "array") return "list of " + describe(doc, s.items || {});
  if (schema.$ref) return schema.$ref.split("/").pop();
  return s.format || kind(s);
}

// fields lists what is in a form, as deep as it goes but for forms within themselves.
function fields(doc, schema, above) {
  const s = resolve(doc, schema);
  if (kind(s) === "array") return fields(doc, s.items || {}, above);
  const list = make("dl", { class: "fields" });
  for (const [name, p] of Object.entries(s.properties || {})) {
    const inner = resolve(doc, p);
    const required = (s.required || []).includes(name) ? ", required" : "";
    list.append(make("dt", {}, name, make("span", { class: "doc" }, " " + describe(doc, p) + required)));
    const text = p.description || inner.description;
    if (text) list.append(make("dd", { class: "doc" }, text));
    const below = kind(inner) === "array" ? resolve(doc, inner.items || {}) : inner;
    if (below.properties && !above.includes(below)) list.append(make("dd", {}, fields(doc, below, above.concat([below]))));
  }
  return list;
}

// sample is a body to begin with: what is required, empty.
function sample(doc, schema) {
  const s = resolve(doc, schema);
  const empty = { array: [], integer: 0, number: 0, boolean: false, object: {} };
  const out = {};
  for (const name of s.required || []) {
    const p = resolve(doc, (s.properties || {})[name] || {});
    out[name] = p.enum ? p.enum[0] : kind(p) in empty ? empty[kind(p)] : "";
  }
  return JSON.stringify(out, null, 2);
}

function input(p, doc) {
  const s = resolve(doc, p.schema || {});
  const attributes = { name: p.name, "data-in": p.in, required: p.required };
  if (s.enum) {
    const node = make("select", attributes);
    if (!p.required) node.append(make("option", { value: "" }, ""));
    node.append(...s.enum.map((v) => make("option", { value: v }, v)));
    return node;
  }
  return make("input", Object.assign(attributes, { autocomplete: "off", spellcheck: "false", placeholder: s.default === undefined ? "" : "default " + s.default }));
}

// request is what the form asks for.
function request(operation, form) {
  let path = operation.path;
  const query = new URLSearchParams();
  const headers = {};
  for (const node of form.querySelectorAll("[data-in]")) {
    const value = node.value;
    if (node.dataset.in === "path") path = path.replace("{" + node.name + "}", encodeURIComponent(value));
    else if (value === "") continue;
    else if (node.dataset.in === "query") query.append(node.name, value);
    else if (node.dataset.in === "header") headers[node.name] = value;
  }
  const token = document.getElementById("token").value.trim();
  if (token) headers.Authorization = "Bearer " + token;
  const init = { method: operation.method.toUpperCase(), headers, credentials: "omit", redirect: "error", cache: "no-store" };
  const body = form.querySelector("textarea");
  if (body) {
    headers["Content-Type"] = "application/json";
    init.body = body.value;
  }
  const text = query.toString();
  return [path + (text ? "?" + text : ""), init];
}

function pretty(text, type) {
  if (!/json$/.test(type)) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

// read shows an answer while it comes, as far as it is not too long.
async function read(response, show) {
  const type = (response.headers.get("Content-Type") || "").split(";")[0];
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    text += decoder.decode(value, { stream: true });
    if (text.length > most) {
      await reader.cancel();
      show(text.slice(0, most) + "\n... and more");
      return;
    }
    if (type === "text/event-stream") show(text);
  }
  show(pretty(text, type));
}

function tryIt(doc, operation) {
  const form = make("form", {});
  for (const p of operation.parameters || []) {
    const label = make("label", { class: "field" }, make("code", {}, p.name), " ", make("span", { class: "doc" }, p.description || ""));
    label.append(input(p, doc));
    form.append(label);
  }
  const body = ((operation.requestBody || {}).content || {})["application/json"];
  if (body) {
    const text = make("textarea", { name: "body", spellcheck: "false" });
    text.value = sample(doc, body.schema);
    form.append(make("label", { class: "field" }, make("code", {}, "body"), text));
  }
  const send = make("button", { type: "submit" }, "Send");
  const stop = make("button", { type: "button", class: "quiet", hidden: true }, "Stop");
  const status = make("p", { class: "doc", role: "status" });
  const answer = make("pre", { hidden: true, tabindex: "0" });
  form.append(make("div", { class: "row" }, send, stop), status, answer);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const [url, init] = request(operation, form);
    const abort = new AbortController();
    stop.onclick = () => abort.abort();
    send.disabled = true;
    stop.hidden = false;
    answer.hidden = true;
    status.className = "doc";
    status.textContent = "Asking ...";
    try {
      const response = await fetch(url, Object.assign(init, { signal: abort.signal }));
      status.textContent = init.method + " " + url + ": " + response.status + " " + response.statusText;
      if (!response.ok) status.className = "bad";
      answer.hidden = false;
      answer.textContent = "";
      await read(response, (text) => { answer.textContent = text; });
    } catch (error) {
      status.className = abort.signal.aborted ? "doc" : "bad";
      status.textContent = abort.signal.aborted ? "Stopped." : "No answer: " + error.message;
    } finally {
      send.disabled = false;
      stop.hidden = true;
    }
  });
  return form;
}

function inside(doc, operation) {
  const parts = [make("p", { class: "doc" }, operation.description || "")];
  const body = ((operation.requestBody || {}).content || {})["application/json"];
  if (body) parts.push(make("h3", {}, "Body"), fields(doc, body.schema, []));
  for (const [status, response] of Object.entries(operation.responses || {})) {
    if (!/^2/.test(status)) continue;
    for (const [type, content] of Object.entries(response.content || {})) {
      parts.push(make("h3", {}, "Answer " + status + ", " + type), fields(doc, content.schema || {}, []));
    }
  }
  parts.push(make("h3", {}, "Try it"), tryIt(doc, operation));
  return parts;
}

function card(doc, operation) {
  const summary = make("summary", {}, make("span", { class: "method " + operation.method }, operation.method.toUpperCase()),
    make("span", { class: "path" }, operation.path), make("span", { class: "doc" }, operation.summary || ""));
  const node = make("details", { id: operation.operationId, "data-text": [operation.method, operation.path, operation.summary, operation.operationId].join(" ").toLowerCase() }, summary);
  node.addEventListener("toggle", () => { // made when it is looked at
    if (node.open && node.childElementCount === 1) node.append(make("div", { class: "inside" }, ...inside(doc, operation)));
  });
  return node;
}

const order = ["get", "post", "put", "patch", "delete"];

function show(doc) {
  document.getElementById("about").textContent = doc.info.description + " Version " + doc.info.version + ".";
  const tags = new Map();
  for (const path of Object.keys(doc.paths).sort()) {
    for (const method of order) {
      const operation = doc.paths[path][method];
      if (!operation) continue;
      const tag = (operation.tags || ["others"])[0];
      if (!tags.has(tag)) tags.set(tag, []);
      tags.get(tag).push(Object.assign({ path, method }, operation));
    }
  }
  const main = document.getElementById("operations");
  for (const tag of [...tags.keys()].sort()) {
    main.append(make("section", {}, make("h2", {}, tag), ...tags.get(tag).map((operation) => card(doc, operation))));
  }
}

function find(event) {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const section of document.querySelectorAll("section")) {
    let any = false;
    for (const node of section.querySelectorAll("details[data-text]")) {
      node.hidden = !words.every((w) => node.dataset.text.includes(w));
      any = any || !node.hidden;
    }
    section.hidden = !any;
  }
}

async function begin() {
  document.getElementById("find").addEventListener("input", find);
  try {
    const response = await fetch("openapi.json", { credentials: "omit", redirect: "error" });
    if (!response.ok) throw new Error(response.status + " " + response.statusText);
    show(await response.json());
  } catch (error) {
    const about = document.getElementById("about");
    about.className = "bad";
    about.textContent = "The description cannot be read: " + error.message;
  }
}

begin();
