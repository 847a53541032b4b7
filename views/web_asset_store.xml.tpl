<?xml version="1.0" encoding="UTF-8"?>
<urls>
% for kind, url in urls.items():
  <url type="{{kind}}">{{url}}</url>
% end
</urls>
