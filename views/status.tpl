<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>Status · Web Asset Server</title>
  <link rel="icon" href="status/view/icon.svg">
  <link rel="stylesheet" href="status/view/page.css" nonce="{{nonce}}">
  <script type="module" src="status/view/main.js" nonce="{{nonce}}"></script>
</head>
<body>
  <header>
    <img src="status/view/icon.svg" alt="" width="36" height="36">
    <div>
      <h1>Web Asset Server</h1>
      <p>Version {{version}}</p>
    </div>
    <button type="button" id="lock" class="quiet" hidden>Lock</button>
  </header>

  <nav aria-label="Sections of this page" id="parts" hidden>
    <a href="#overview">Overview</a>
    <a href="#storage">Storage</a>
    <a href="#files">Files</a>
    <a href="#upload">Upload</a>
    <a href="#trash">Trash</a>
    <a href="#visibility" id="visibility-link" hidden>Visibility</a>
    <a href="#activity">Activity</a>
    <a href="#connection">Connection</a>
  </nav>

  <main>
    <noscript><p class="notice error">This page requires JavaScript.</p></noscript>

    <section id="sign-in" class="narrow" aria-labelledby="sign-in-heading">
      <h2 id="sign-in-heading">Status of this server</h2>
      <p>Enter the attachment key, the same one used in Specify.</p>
      <form id="key-form" autocomplete="off">
        <label for="key">Attachment key</label>
        <div class="row">
          <input type="password" id="key" required autocomplete="off" autocapitalize="none" spellcheck="false"
            aria-describedby="key-answer key-promise">
          <button id="open" disabled>Open</button>
        </div>
        <div id="key-answer" role="alert"></div>
      </form>
      <p id="insecure" class="notice warning" hidden>This page was loaded over unencrypted HTTP. An attacker in the
        network could modify it to steal the key that you enter. Use HTTPS, or open the page on the server itself.</p>
      <p id="key-promise" class="fine">The key stays in this page: it is neither sent nor stored. The page forgets it
        when you lock or close it, and after half an hour without activity.</p>
      <p><button type="button" id="check-without-key" class="link">Check the connection without a key</button></p>
    </section>

    <section id="overview" aria-labelledby="overview-heading" hidden>
      <h2 id="overview-heading" tabindex="-1">Overview</h2>
      <div class="content"></div>
    </section>
    <section id="storage" aria-labelledby="storage-heading" hidden>
      <h2 id="storage-heading" tabindex="-1">Storage</h2>
      <div class="content"></div>
    </section>
    <section id="files" aria-labelledby="files-heading" hidden>
      <h2 id="files-heading" tabindex="-1">Files</h2>
      <div class="content"></div>
    </section>
    <section id="upload" aria-labelledby="upload-heading" hidden>
      <h2 id="upload-heading" tabindex="-1">Upload</h2>
      <div class="content"></div>
    </section>
    <section id="trash" aria-labelledby="trash-heading" hidden>
      <h2 id="trash-heading" tabindex="-1">Trash</h2>
      <div class="content"></div>
    </section>
    <section id="visibility" aria-labelledby="visibility-heading" hidden>
      <h2 id="visibility-heading" tabindex="-1">Visibility</h2>
      <div class="content"></div>
    </section>
    <section id="activity" aria-labelledby="activity-heading" hidden>
      <h2 id="activity-heading" tabindex="-1">Activity</h2>
      <div class="content"></div>
    </section>
    <section id="connection" aria-labelledby="connection-heading" hidden>
      <h2 id="connection-heading" tabindex="-1">Connection</h2>
      <div class="content"></div>
    </section>
  </main>

  <dialog id="details" aria-labelledby="details-heading"></dialog>
  <div id="news" role="status" aria-live="polite"></div>
</body>
</html>
