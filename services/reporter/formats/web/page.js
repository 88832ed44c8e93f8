// Checks on opening that the page is as it was made, and that each record that it names is under a signed checkpoint.
const page = (() => {
  const at = (id) => document.getElementById(id);
  const parsed = (id) => JSON.parse(at(id).textContent);
  const utf8 = new TextEncoder();
  const SIGNS = { good: "✓", bad: "✕", plain: "•" };

  // What stands in the body, in a form that the maker of the page could write too: services/reporter/formats/likeness.py.
  const likeness = (node) => {
    if (node.nodeType === Node.TEXT_NODE || node.nodeType === Node.CDATA_SECTION_NODE) {
      const told = node.data.replace(/[ \t\n\r\f]+/g, " ");
      return told === " " ? "" : told;
    }
    if (node.nodeType === Node.COMMENT_NODE) return `<!--${node.data}-->`;
    const name = node.nodeName.toLowerCase();
    const attributes = name === "body" ? [] : Array.from(node.attributes, (one) => `${one.name.toLowerCase()}=${one.value}\n`).sort();
    const inside = node.id === "seal" ? "" : Array.from(node.childNodes, likeness).join("");
    return `<${name}\n${attributes.join("")}>${inside}</${name}>`;
  };

  // The bytes that the edition's hash is of: in the page, "<" stands escaped.
  const documentBytes = () => utf8.encode(at("document").textContent.replace(/\\(u003c|u003e|u0026|[^])/g, (all, what) => ({ u003c: "<", u003e: ">", u0026: "&" })[what] ?? all));

  const time = (us) => new Date(Number(us / 1000n)).toISOString().replace(/\.\d+Z$/, "Z");

  const step = (list, tone, told) => {
    const item = document.createElement("li");
    const sign = document.createElement("span");
    sign.setAttribute("aria-hidden", "true");
    sign.className = "mark";
    sign.textContent = SIGNS[tone];
    const word = document.createElement("strong");
    word.textContent = { good: "Holds: ", bad: "Does not hold: ", plain: "Not checked: " }[tone];
    item.className = tone;
    item.append(sign, word, told);
    list.append(item);
  };

  const say = (tone, told) => {
    at("check-said").className = `state ${tone}`;
    at("check-said").querySelector(".mark").textContent = SIGNS[tone];
    at("check-text").textContent = told;
    document.documentElement.dataset.check = tone;
  };

  const toneOf = (error) => (error instanceof Refused || error instanceof SyntaxError || error instanceof TypeError || error instanceof RangeError ? "bad" : "plain");

  const pageIsAsMade = async (made) => {
    const found = Piperoll.hex(await Piperoll.sha256(utf8.encode(made)));
    if (found !== parsed("seal").likeness) throw new Refused("this page was changed after it was made, by somebody or by an extension of this browser");
    return "page and style are as they were made.";
  };

  const dataIsAsMade = async () => {
    const found = Piperoll.hex(await Piperoll.sha256(documentBytes()));
    if (found !== parsed("seal").document) throw new Refused("the data in this page is not that with which it was made");
    const { edition_sha256: edition, detail, other_than_edition: other } = parsed("document");
    if (other) return `the data is that with which this page was made (SHA-256 ${found}), and other than edition ${other.edition} (SHA-256 ${other.sha256}).`;
    if (edition) return `the data is that of this copy (${detail}, SHA-256 ${found}) of the edition with SHA-256 ${edition}.`;
    return `the data is that of the edition with SHA-256 ${found}.`;
  };

  const proofOf = (kept, parts) => {
    const [leaf, chainHead, chainNote, sealLeaf, sealHead, sealNote] = parts.map((part) => (typeof part === "number" ? kept.texts[part] : part));
    return {
      format: "piperoll-proof/v1", leaf, payload: null, enrichment: null,
      chain_proof: chainHead + chainNote, seal_leaf: sealLeaf, seal_proof: sealHead + sealNote,
    };
  };

  // Every record that the report names, by its proof. Its hash must be the one that the report gives.
  const recordsAreSealed = async (policy) => {
    const kept = parsed("proofs");
    const cited = parsed("document").cited ?? [];
    const found = { seal: -1 };
    let proved = 0;
    for (const one of cited) {
      const parts = kept.records[one.record];
      if (!parts) continue;
      const shown = await Piperoll.check(proofOf(kept, parts), policy);
      if (shown.hash !== one.hash || shown.seq !== Number(one.record.split(":")[1])) throw new Refused(`record ${one.record} is not the one that was sealed`);
      if (shown.seal > found.seal) Object.assign(found, shown);
      proved += 1;
    }
    if (Object.keys(kept.records).length !== proved) throw new Refused("the page holds proofs of records that it does not name");
    if (proved === 0) throw new Unchecked(cited.length ? "the page holds no proof of the records that it names: nothing was sealed when it was made." : "no record is named.");
    const key = policy.logs.find((log) => log.name === found.origin);
    const by = found.cosigned.length ? `, cosigned by ${found.cosigned.join(", ")}` : "";
    const left = cited.length - proved;
    return {
      left,
      told: `${proved.toLocaleString("en")} of ${cited.length.toLocaleString("en")} cited records are under checkpoints signed by ${found.origin}${by}; the last is seal ${found.seal.toLocaleString("en")} of ${time(found.sealTimeUs)} (the log's own clock). Key fingerprint: SHA-256 ${await Piperoll.fingerprint(key)}.`,
    };
  };

  const attempt = async (list, work) => {
    try {
      const told = await work();
      step(list, "good", told.told ?? told);
      return told.left ? "plain" : "good";
    } catch (error) {
      const tone = toneOf(error);
      step(list, tone, error.message);
      return tone;
    }
  };

  const conclude = (tones, whose) => {
    if (tones.includes("bad")) say("bad", "Does not hold: do not rely on this page. What is wrong stands below.");
    else if (tones.includes("plain")) say("plain", "Not checked in full: what was not stands below.");
    else if (!parsed("document").integrity?.good) say("plain", `The page is as it was made, and agrees with checkpoints signed by ${whose}. What it reports is NOT VERIFIED: the verdict above says why.`);
    else say("good", `Holds: page, data and cited records agree with checkpoints signed by ${whose}.`);
  };

  const checkPage = async (made, given) => {
    const list = at("check-steps");
    list.replaceChildren();
    say("plain", "Checking …");
    const first = [await attempt(list, () => pageIsAsMade(made)), await attempt(list, dataIsAsMade)];
    const last = await attempt(list, async () => recordsAreSealed(await Piperoll.readPolicy(given || parsed("seal").policy)));
    conclude([...first, last], given ? "the key that you gave" : "the key that stands in this page");
  };

  // A file against what the edition's record says of it.
  const checkFiles = async (files, given) => {
    const list = at("file-steps");
    at("check-more").open = true;
    list.replaceChildren();
    const contents = await Promise.all(Array.from(files, async (file) => ({ name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) })));
    const proofs = contents.filter((file) => file.name.endsWith(".piperoll-proof"));
    const others = contents.filter((file) => !proofs.includes(file));
    const recorded = new Map();
    for (const file of proofs) {
      await attempt(list, async () => {
        const proof = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(file.bytes));
        const shown = await Piperoll.check(proof, await Piperoll.readPolicy(given || parsed("seal").policy));
        const event = JSON.parse(new TextDecoder().decode(shown.value ?? new Uint8Array()) || "{}");
        if (!["piperoll.report.edition", "piperoll.report.files"].includes(event.type) || shown.topic?.endsWith(".system") !== true) throw new Refused(`${file.name} is not the proof of an edition`);
        const documents = (event.data.files ?? []).filter((one) => one.name === "report.json");
        if ((event.data.detail ?? "full") === "full" && documents.some((one) => one.sha256 !== event.data.sha256)) throw new Refused(`${file.name}: its report.json is not the edition that it names`);
        recorded.set(event.data.sha256, `${event.data.edition} as JSON`);
        for (const one of event.data.files ?? []) recorded.set(one.sha256, `${one.name} of edition ${event.data.edition}`);
        return `edition ${event.data.edition} is recorded, and under seal ${shown.seal} of ${time(shown.sealTimeUs)}.`;
      });
    }
    for (const file of others) {
      await attempt(list, async () => {
        const found = Piperoll.hex(await Piperoll.sha256(file.bytes));
        if (recorded.size === 0) throw new Unchecked(`${file.name} has SHA-256 ${found}. Add the proof of its edition (edition.piperoll-proof) to compare it with what was recorded.`);
        if (!recorded.has(found)) throw new Refused(`${file.name} is not as it was recorded (SHA-256 ${found}).`);
        return `${file.name} is byte for byte ${recorded.get(found)}.`;
      });
    }
  };

  const start = () => {
    const made = `${at("style").textContent}\n${document.title}\n${likeness(document.body)}`;
    const given = () => at("check-key").value.trim();
    at("check-run").addEventListener("click", () => checkPage(made, given()));
    at("check-file").addEventListener("change", (event) => checkFiles(event.target.files, given()));
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => { event.preventDefault(); checkFiles(event.dataTransfer.files, given()); });
    window.addEventListener("beforeprint", () => document.querySelectorAll("main details").forEach((one) => { one.open = true; }));
    return checkPage(made, "");
  };

  return { start };
})();
document.addEventListener("DOMContentLoaded", () => { page.start(); });
