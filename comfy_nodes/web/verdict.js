// Shows what a verifier found, what a sink saved, and what a turn is about, on the node's own face. Core shows `ui.text` for its own text nodes only.

import { app } from "../../scripts/app.js";

const NODES = new Set([
  "EditPairsTakeTurn",
  "EditPairsVerifyPixels",
  "EditPairsVerifyDialogue",
  "EditPairsVerifyEdit",
  "EditPairsJudgeEdit",
  "EditPairsAskPhoto",
  "EditPairsAskEdit",
  "EditPairsWitness",
  "EditPairsConsistency",
  "EditPairsFilterPair",
  "EditPairsPickBest",
  "EditPairsSavePair",
  "EditPairsSaveInstructions",
]);
const WIDGET = "verdict";
const MARKS = { keep: "✔", reject: "✘", unscored: "?" };

function addVerdict(node) {
  const { widget } = app.widgets.STRING(node, WIDGET, ["STRING", { multiline: true, placeholder: "Run to see what was found" }], app);
  widget.serialize = false; // not in saved workflows, where it would shift the widgets' values
  Object.assign(widget.options, { serialize: false, read_only: true, getMinHeight: () => 110 });
  widget.element.readOnly = true;
  node.setSize([node.size[0], node.computeSize()[1]]);
}

function show(node, { text: texts, images }) {
  if (images?.length === 0) node.imgs = []; // the classic node design keeps the picture of the run before
  const widget = node?.widgets?.find(({ name }) => name === WIDGET);
  if (!widget || !texts) return;
  const marked = texts.map((text) => `${MARKS[/^\w+/.exec(text)?.[0]] ?? ""} ${text}`.trim());
  widget.value = marked.join("\n\n");
  node.setDirtyCanvas(true);
}

app.registerExtension({
  name: "EditPairs.Verdict",

  nodeCreated(node) {
    if (!NODES.has(node.comfyClass)) return;
    addVerdict(node);
    const onExecuted = node.onExecuted;
    node.onExecuted = function (output) {
      onExecuted?.call(this, output);
      show(this, output);
    };
  },

  // A workflow tab that is opened again, or a job from the queue: nothing runs, the outputs are put back.
  onNodeOutputsUpdated(outputs) {
    for (const [locator, output] of Object.entries(outputs)) {
      const [id, subgraph] = locator.split(":").reverse();
      const graph = subgraph ? app.rootGraph.subgraphs.get(subgraph) : app.rootGraph;
      const node = graph?.getNodeById(id);
      if (NODES.has(node?.comfyClass)) show(node, output);
    }
  },
});
