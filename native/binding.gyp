# The addon: `npx node-gyp rebuild -C native --nodedir=<prefix of the Node.js that runs it>`.
# Nothing is linked: SSL_* and uv_* resolve from the node executable when the addon is loaded, hence Node's own OpenSSL headers come
# first, and libssl must never be linked. Node's and node-addon-api's headers are system headers: their warnings are not ours.
{
  "targets": [
    {
      "target_name": "penstock",
      "sources": ["<!@(ls -1 core/*.cc addon/*.cc)"],
      "include_dirs": ["core"],
      "defines": ["NAPI_VERSION=9", "NODE_ADDON_API_DISABLE_DEPRECATED", "NAPI_DISABLE_CPP_EXCEPTIONS"],
      "cflags": [
        "-O3",
        "-fvisibility=hidden",
        "-Wall",
        "-Wextra",
        "-Wconversion",
        "-Werror",
        "-isystem<(node_root_dir)/include/node",
        "-isystem<!(node -p \"require('path').dirname(require.resolve('node-addon-api'))\")"
      ],
      "cflags_cc!": ["-std=gnu++14", "-std=gnu++17", "-std=gnu++20"],
      "cflags_cc": ["-std=c++20"]
    }
  ]
}
