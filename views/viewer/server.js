// Requests to the server, and what its errors mean here.

const { root, manifest: manifestAddress } = document.body.dataset;

/** How many seconds to wait before a request is repeated if the server is busy and does not say how long. */
const RETRY_SECONDS = 5;

/** How often to repeat a request if the server is busy. */
const ATTEMPTS = 20;

/** An error with a sentence for people. `status` is 0 if the server did not respond. */
export class Fault extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** The address of a part of this server. */
export const address = (path) => `${root}${path}`;

/** The same address on this server, whatever address it advertises: cookies and the policy of the page require that. */
export const local = (id) => address(/.*\/((?:iiif\/3\/|fileget\?|getmetadata\?).*)/.exec(id)[1]);

export const manifest = (waiting) => json(manifestAddress, waiting);

export const information = (service, waiting) => json(`${service}/info.json`, waiting);

export const metadata = (path) => json(path);

/** How far a page is prepared, by the address of its parts: `{ state, progress }`; null if the server does not say. */
export async function progress(service) {
  try {
    return await json(address(`iiif/state/${service.slice(address("iiif/3/").length)}`), null, 1);
  } catch {
    return null;
  }
}

/** Why an image could not be loaded, as a Fault; null if it can be loaded now. */
export async function reason(image) {
  try {
    await checked(await fetch(image, { cache: "no-store" }));
    return null;
  } catch (fault) {
    return translated(fault);
  }
}

async function json(path, waiting, attempts = ATTEMPTS) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await (await checked(await fetch(path))).json();
    } catch (error) {
      const fault = translated(error);
      if (fault.status !== 503 || attempt >= attempts) {
        throw fault;
      }
      waiting?.(fault);
      await new Promise((done) => setTimeout(done, (fault.seconds || RETRY_SECONDS) * 1000));
    }
  }
}

async function checked(response) {
  if (response.ok) {
    return response;
  }
  const isText = response.headers.get("Content-Type")?.startsWith("text/plain");
  const fault = new Fault(isText ? await response.text() : `The server responded with status ${response.status}.`, response.status);
  fault.seconds = Number(response.headers.get("Retry-After"));
  if (response.status === 401 || response.status === 403) {
    fault.message = "The permission to see this picture has expired. Open it again from Specify.";
  }
  return Promise.reject(fault);
}

function translated(error) {
  return error instanceof Fault ? error : new Fault("The server does not respond. Check the connection.", 0);
}
