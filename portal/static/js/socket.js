// A websocket that comes back: waits longer after each failure, with jitter so that a restarted portal is not stormed.

const FIRST_MS = 500;
const LONGEST_MS = 20_000;
const STEADY_MS = 5000; // the portal opens a socket to say why it refuses: being open for a moment is no success

// `path()` is asked at each attempt; `onClose(code)` answers whether to try again.
export function connect({ path, onOpen, onMessage, onClose }) {
  let socket;
  let timer;
  let steady;
  let failures = 0;
  let ended = false;

  const open = () => {
    clearTimeout(timer);
    const url = new URL(path(), location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    socket = new WebSocket(url);
    socket.onopen = () => {
      steady = setTimeout(() => (failures = 0), STEADY_MS);
      onOpen?.();
    };
    socket.onmessage = (event) => onMessage(JSON.parse(event.data));
    socket.onclose = ({ code }) => {
      clearTimeout(steady);
      if (ended || onClose(code) === false) return;
      const longest = Math.min(LONGEST_MS, FIRST_MS * 2 ** failures++);
      timer = setTimeout(open, longest / 2 + (Math.random() * longest) / 2);
    };
  };
  const hurry = () => {
    if (!ended && socket.readyState === WebSocket.CLOSED && timer) open();
  };
  addEventListener("online", hurry);
  // An answer to a press says that the portal is back.
  document.addEventListener("htmx:afterOnLoad", hurry);
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
