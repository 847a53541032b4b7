<!DOCTYPE html>
<html lang="en" data-download="{{download}}">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
  <meta name="color-scheme" content="dark">
  <title>{{title}}</title>
  <script nonce="{{nonce}}">
    // A proxy may pass on only the addresses of Specify. Then the browser downloads the file, as without the viewer.
    addEventListener("error", ({ target }) => {
      if (target.tagName === "SCRIPT") { location.replace(document.documentElement.dataset.download); }
    }, true);
  </script>
  <link rel="icon" href="{{root}}viewer/icon.svg">
  <link rel="stylesheet" href="{{root}}viewer/viewer.css" nonce="{{nonce}}">
  <style data-openseadragon-mobile-css nonce="{{nonce}}"></style><!-- OpenSeadragon would insert it without the nonce. -->
  <script src="{{root}}viewer/openseadragon.js" nonce="{{nonce}}" defer></script>
  <script type="module" src="{{root}}viewer/main.js" nonce="{{nonce}}"></script>
</head>
<body data-root="{{root}}" data-manifest="{{manifest}}" data-page="{{page}}" data-metadata="{{metadata}}">
  <header>
    <div>
      <h1 id="name">{{name}}</h1>
      <p id="facts">&nbsp;</p>
    </div>
    <a class="button" id="download" href="{{download}}" download="{{name}}" title="Download the original file">
      <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M12 4v11m-5-5 5 5 5-5M5 20h14"/></svg><span>Download</span></a>
    <button type="button" id="show-information" aria-expanded="false" aria-controls="information" title="Information (I)">
      <svg viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="9"/><path d="M12 11v6m0-9.5v.5"/></svg><span>Information</span></button>
  </header>

  <main>
    <div id="picture"></div>
    <div id="message" role="status" hidden></div>
    <noscript><p class="notice">The viewer requires JavaScript. You can <a href="{{download}}">download the file</a>.</p></noscript>

    <form id="adjustments" hidden aria-label="Brightness and contrast">
      <label for="brightness">Brightness</label>
      <input type="range" id="brightness" min="20" max="300" value="100"><output for="brightness">100 %</output>
      <label for="contrast">Contrast</label>
      <input type="range" id="contrast" min="20" max="400" value="100"><output for="contrast">100 %</output>
      <label for="inverted">Invert</label>
      <div><input type="checkbox" id="inverted"><button type="reset">Reset</button></div>
    </form>

    <div id="tools" role="toolbar" aria-label="Tools" hidden>
      <button type="button" data-act="zoomOut" title="Zoom out (−)" aria-label="Zoom out">
        <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M5 12h14"/></svg></button>
      <button type="button" data-act="actualSize" id="scale" title="Actual size (1)" aria-label="Actual size">100 %</button>
      <button type="button" data-act="zoomIn" title="Zoom in (+)" aria-label="Zoom in">
        <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M5 12h14M12 5v14"/></svg></button>
      <button type="button" data-act="whole" title="Whole picture (0)" aria-label="Whole picture">
        <svg viewBox="0 0 24 24" aria-hidden="true"><rect x="4" y="6" width="16" height="12" rx="1"/><path d="M8 14v-4h3m5 0v4h-3"/></svg></button>
      <button type="button" data-act="rotateLeft" title="Rotate to the left (Shift+R)" aria-label="Rotate to the left">
        <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M5 5v5h5M5.6 10A7.5 7.5 0 1 1 5 15"/></svg></button>
      <button type="button" data-act="rotateRight" title="Rotate to the right (R)" aria-label="Rotate to the right">
        <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M19 5v5h-5M18.4 10A7.5 7.5 0 1 0 19 15"/></svg></button>
      <button type="button" data-act="adjust" id="adjust" aria-expanded="false" aria-controls="adjustments" title="Brightness and contrast (B)" aria-label="Brightness and contrast">
        <svg viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="8"/><path d="M12 4a8 8 0 0 1 0 16z" class="filled"/></svg></button>
      <button type="button" data-act="fullScreen" id="full-screen" aria-pressed="false" title="Full screen (F)" aria-label="Full screen">
        <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 9V4h5m6 0h5v5m0 6v5h-5m-6 0H4v-5"/></svg></button>
    </div>
  </main>

  <nav id="pages" aria-label="Pages" hidden></nav>

  <aside id="information" aria-label="Information" hidden>
    <button type="button" id="hide-information" aria-label="Close">✕</button>
    <h2>File</h2>
    <dl id="file"></dl>
    <p><a id="manifest" href="{{manifest}}">IIIF manifest</a>
      <span class="fine">for Mirador and other viewers</span></p>
    <h2>Metadata</h2>
    <div id="metadata"></div>
    <h2 id="keys-heading">Keys</h2>
    <dl id="keys"></dl>
    <p class="fine">Web Asset Server {{version}} ·
      <a href="{{root}}viewer/openseadragon-license.txt">OpenSeadragon</a></p>
  </aside>
</body>
</html>
