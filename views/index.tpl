<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Web Asset Server</title>
  <style>
    body { font: 1.05rem/1.6 system-ui, sans-serif; max-width: 42rem; margin: 3rem auto; padding: 0 1.2rem; color: #1c2733; background: #fff; }
    h1 { font-size: 1.7rem; margin-bottom: .2rem; }
    h2 { font-size: 1.15rem; margin-top: 2rem; }
    code { background: #eef2f5; padding: .15em .4em; border-radius: .25em; overflow-wrap: anywhere; }
    a { color: #0b5cad; }
    .version { color: #4a5b6c; margin-top: 0; }
    @media (prefers-color-scheme: dark) { body { color: #e4eaf0; background: #14191f; } code { background: #26303a; } .version { color: #a9b7c4; } a { color: #8cc2ff; } }
  </style>
</head>
<body>
  <h1>It works!</h1>
  <p class="version">Web Asset Server {{version}}</p>
  <p>This server stores the attachments of a Specify database. To connect Specify, set:</p>
  <h2>Specify 6</h2>
  <p>Preference <code>attachment.url</code>: <code>{{xml_url}}</code></p>
  <h2>Specify 7</h2>
  <p>Setting <code>ASSET_SERVER_URL</code>: <code>{{xml_url}}</code></p>
  <p>Both also require the attachment key of this server.</p>
% if has_status_page:
  <p><a href="status">Status of this server</a>: health, storage, files, trash and a connection check. It
    requires the key.</p>
% end
  <p>If the address above differs from the one in the address bar of your browser, set <code>SERVER_NAME</code> and
    <code>SERVER_PORT</code>, or <code>PUBLIC_URL</code>, to an address that clients can reach.</p>
</body>
</html>
