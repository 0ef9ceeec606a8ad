// Shows what openapi.json describes, with a form for each endpoint. Everything is put into the page as text.
"use strict";

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

// A field for one value. `read` gives it, or undefined if nothing was entered.
const field = (name, schema, about, required) => {
  const choices = schema.enum ?? (schema.type === "boolean" ? ["true", "false"] : null);
  const input = choices
    ? make("select", {}, ...["", ...choices].map((choice) => make("option", { value: choice, textContent: choice })))
    : schema.type === "array"
      ? make("textarea", { rows: 2, placeholder: '[{"k": "source", "v": "import"}]' })
      : make("input", { placeholder: schema.format === "byte" ? "base64" : (schema.type ?? "") });
  input.name = name;
  input.required = required === true;
  const label = make("label", {}, make("span", { textContent: name + (required ? " *" : "") }), input);
  if (about) label.append(make("small", { textContent: about }));
  const read = () => (input.value === "" ? undefined : input.value);
  return { label, name, schema, read };
};

const typed = ({ schema, read }) => {
  const text = read();
  if (text === undefined || schema.type === "string") return text;
  return JSON.parse(text);
};

const form = (path, method, operation) => {
  const parameters = operation.parameters.map((parameter) => ({
    ...field(parameter.name, parameter.schema, parameter.description, parameter.required),
    in: parameter.in,
  }));
  const body = operation.requestBody?.content["application/json"].schema.properties ?? null;
  const fields = Object.entries(body ?? {}).map(([name, schema]) => field(name, schema, schema.description, false));
  const result = make("pre", { hidden: true });
  const send = async (event) => {
    event.preventDefault();
    const of = (place) => parameters.filter((parameter) => parameter.in === place && parameter.read() !== undefined);
    const url = new URL(
      of("path").reduce((url, { name, read }) => url.replace(`{${name}}`, encodeURIComponent(read())), path),
      location.href,
    );
    of("query").forEach(({ name, read }) => url.searchParams.set(name, read()));
    const headers = { accept: "application/json" };
    of("header").forEach(({ name, read }) => (headers[name] = read()));
    result.hidden = false;
    try {
      const request = { method: method.toUpperCase(), headers };
      if (body) {
        headers["content-type"] = "application/json";
        request.body = JSON.stringify(Object.fromEntries(fields.map((field) => [field.name, typed(field)])));
      }
      result.textContent = "…";
      const response = await fetch(url, request);
      const text = await response.text();
      const is_json = response.headers.get("content-type")?.startsWith("application/json") && text !== "";
      const etag = response.headers.get("etag");
      result.textContent = [
        `${response.status} ${response.statusText}`,
        ...(etag ? [`etag: ${etag}`] : []),
        "",
        is_json ? JSON.stringify(JSON.parse(text), null, 2) : text,
      ].join("\n");
    } catch (error) {
      result.textContent = String(error);
    }
  };
  const inner = make("form", { onsubmit: send }, ...[...parameters, ...fields].map(({ label }) => label));
  inner.append(make("button", { textContent: "Send" }), result);
  return make(
    "details",
    { id: operation.operationId },
    make(
      "summary",
      {},
      make("span", { className: "right", textContent: `right: ${operation["x-right"]}` }),
      make("span", { className: "method", textContent: method.toUpperCase() }),
      make("code", { textContent: path }),
    ),
    make("p", {}, make("strong", { textContent: operation.summary })),
    make("p", { textContent: operation.description }),
    inner,
  );
};

(async () => {
  const main = document.getElementById("endpoints");
  try {
    const description = await (await fetch("openapi.json")).json();
    document.getElementById("about").textContent = description.info.description;
    const groups = new Map();
    for (const [path, operations] of Object.entries(description.paths)) {
      for (const [method, operation] of Object.entries(operations)) {
        const [tag] = operation.tags;
        groups.set(tag, [...(groups.get(tag) ?? []), form(path, method, operation)]);
      }
    }
    main.replaceChildren(...[...groups].flatMap(([tag, forms]) => [make("h2", { textContent: tag }), ...forms]));
  } catch (error) {
    main.textContent = `The description cannot be read: ${error}`;
  }
})();
