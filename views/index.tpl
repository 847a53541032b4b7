<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Web Asset Server</title>
  <style nonce="{{nonce}}">
    body { font: 1.05rem/1.6 system-ui, sans-serif; max-width: 42rem; margin: 3rem auto; padding: 0 1.2rem; color: #1c2733; background: #fff; }
    h1 { font-size: 1.7rem; margin-bottom: .2rem; }
    h2 { font-size: 1.15rem; margin-top: 2rem; }
    code { background: #eef2f5; padding: .15em .4em; border-radius: .25em; overflow-wrap: anywhere; }
    a { color: #0b5cad; }
    .value { display: inline-flex; flex-wrap: wrap; gap: .5rem; align-items: center; }
    button { font: inherit; font-size: .95rem; padding: .15rem .8rem; border: 1px solid #0b5cad; border-radius: .4rem; background: none; color: #0b5cad; cursor: pointer; }
    button[hidden] { display: none; }
    .version { color: #4a5b6c; margin-top: 0; }
    @media (prefers-color-scheme: dark) { body { color: #e4eaf0; background: #14191f; } code { background: #26303a; } .version { color: #a9b7c4; } a, button { color: #8cc2ff; } button { border-color: #8cc2ff; } }
  </style>
</head>
<body>
  <h1>It works!</h1>
  <p class="version">Web Asset Server {{version}}</p>
  <p>This server stores the attachments of a Specify database. Enter these values in Specify:</p>
  <h2>Specify 6</h2>
  <p>Preference <code>attachment.url</code>: <span class="value"><code>{{xml_url}}</code>
    <button type="button" hidden data-copy="{{xml_url}}" aria-label="Copy the value of attachment.url">Copy</button></span></p>
  <p>Preference <code>attachment.key</code>: the key of this server</p>
  <h2>Specify 7</h2>
  <p>Setting <code>ASSET_SERVER_URL</code>: <span class="value"><code>{{xml_url}}</code>
    <button type="button" hidden data-copy="{{xml_url}}" aria-label="Copy the value of ASSET_SERVER_URL">Copy</button></span></p>
  <p>Setting <code>ASSET_SERVER_KEY</code>: the key of this server</p>
  <p id="copied" role="status"></p>
% if has_status_page:
  <p><a href="status">Status of this server</a>: health, storage, files, uploads, trash and a connection check. It
    requires the key.</p>
% end
  <p>If the address above differs from the one in the address bar of your browser, set <code>SERVER_NAME</code> and
    <code>SERVER_PORT</code>, or <code>PUBLIC_URL</code>, to an address that clients can reach.</p>
  <script nonce="{{nonce}}">
    for (const button of document.querySelectorAll("[data-copy]")) {
      button.hidden = false;
      button.addEventListener("click", async () => {
        const code = button.parentElement.querySelector("code");
        getSelection().selectAllChildren(code);
        // Browsers have no clipboard for pages that were loaded over HTTP.
        const done = navigator.clipboard
          ? await navigator.clipboard.writeText(button.dataset.copy).then(() => true, () => false)
          : document.execCommand("copy");
        document.getElementById("copied").textContent = done ? "The address was copied." : "The address is selected. Copy it.";
      });
    }
  </script>
</body>
</html>
