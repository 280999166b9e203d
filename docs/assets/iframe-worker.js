/*
 * Lets the search work when the site is opened from disk.
 *
 * Browsers start no worker from a file: address, and Material's search is one. There, this Worker loads the script
 * into a hidden frame instead, which runs it in the page's own process. The search's script asks for
 * `parent.IFrameWorker` and for the address of its first script element, so both have to be found.
 */
(() => {
  class IFrameWorker extends EventTarget {
    constructor(address) {
      super();
      this.waiting = [];
      this.ready = false;
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      // What the worker's script posts goes to who listens to this worker.
      inside.postMessage = (data) => setTimeout(() => this.receive(data), 0);
      // The one in a worker is synchronous; the search's script awaits what comes back.
      inside.importScripts = (...scripts) =>
        scripts.reduce((before, one) => before.then(() => this.load(one)), Promise.resolve());
      this.load(address).then(() => {
        this.ready = true;
        this.waiting.splice(0).forEach((data) => this.send(data));
      });
    }

    postMessage(data) {
      if (this.ready) this.send(data);
      else this.waiting.push(data);
    }

    terminate() {
      this.frame.remove();
    }

    send(data) {
      const inside = this.frame.contentWindow;
      setTimeout(() => inside.dispatchEvent(new inside.MessageEvent("message", { data })), 0);
    }

    receive(data) {
      const message = new MessageEvent("message", { data });
      this.dispatchEvent(message);
      if (this.onmessage) this.onmessage(message);
    }

    load(address) {
      const page = this.frame.contentDocument;
      return new Promise((done, failed) => {
        const script = page.createElement("script");
        script.src = new URL(address, document.baseURI).href;
        script.onload = () => done();
        script.onerror = () => failed(new Error(`${script.src} could not be loaded`));
        page.head.append(script);
      });
    }
  }

  if (location.protocol === "file:") {
    window.IFrameWorker = IFrameWorker;
    window.Worker = IFrameWorker;
  }
})();
