// A websocket that comes back: waits longer after each failure, with jitter so that a restarted portal is not stormed.

const FIRST_MS = 500;
const LONGEST_MS = 20_000;
const SILENT_MS = 50_000; // the portal sends a beat every 20 s: without any the path is gone, which nothing else may tell
const CHECK_MS = 5000;
const STEADY_MS = 5000; // the portal opens a socket to say why it refuses: being open for a moment is no success

// `path()` is asked at each attempt; `onClose(code)` answers whether to try again.
export function connect({ path, onOpen, onMessage, onClose }) {
  let socket;
  let timer;
  let steady;
  let failures = 0;
  let ended = false;
  let heardAt;
  let lost; // the socket that was given up

  const open = () => {
    clearTimeout(timer);
    heardAt = Date.now();
    const url = new URL(path(), location.href);
    url.searchParams.set("beat", "1");
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    socket = new WebSocket(url);
    socket.onopen = () => {
      steady = setTimeout(() => (failures = 0), STEADY_MS);
      onOpen?.();
    };
    socket.onmessage = (event) => {
      heardAt = Date.now();
      const message = JSON.parse(event.data);
      if (message.type !== "beat") onMessage(message);
    };
    socket.onclose = ({ code }) => closed(code);
  };
  const closed = (code) => {
    clearTimeout(steady);
    if (ended || onClose(code) === false) return;
    const longest = Math.min(LONGEST_MS, FIRST_MS * 2 ** failures++);
    timer = setTimeout(open, longest / 2 + (Math.random() * longest) / 2);
  };
  // A browser waits minutes for the close of a socket whose path is gone: it is left to itself.
  const giveUpSilent = () => {
    if (ended || lost === socket || socket.readyState === WebSocket.CLOSED || Date.now() - heardAt < SILENT_MS) return;
    lost = socket;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    closed(1006);
  };
  const hurry = () => {
    giveUpSilent();
    if (!ended && (socket.readyState === WebSocket.CLOSED || lost === socket) && timer) open();
  };
  setInterval(giveUpSilent, CHECK_MS);
  addEventListener("online", hurry);
  // An answer to a press says that the portal is back; a refusal may be the very reason why the socket was closed.
  document.addEventListener("htmx:afterOnLoad", ({ detail }) => detail.successful && hurry());
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && hurry());
  // A page kept by the browser for its Back button comes back with its sockets closed.
  addEventListener("pageshow", (event) => event.persisted && hurry());
  open();
  return {
    close() {
      ended = true;
      clearTimeout(timer);
      socket.close();
    },
  };
}
